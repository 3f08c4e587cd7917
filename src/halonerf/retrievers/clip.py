"""CLIP (Radford et al., 2021), SigLIP (Zhai et al., 2023), SigLIP 2 (Tschannen et al., 2025) through transformers.

Photos go through the checkpoint's image processor, texts through its tokenizer, so that embeddings equal those of
transformers' pipeline for the same checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn.functional import normalize

from halonerf.config.option_types import PositiveFloat, PositiveInt, Text
from halonerf.errors import BadInput
from halonerf.files import atomic_folder
from halonerf.hub import PretrainedSource
from halonerf.retrievers.lora import add_lora, merged_state
from halonerf.retrievers.maskclip import dense_embeddings

REQUIRED = ("get_image_features", "get_text_features", "logit_scale")  # attributes of transformers' model
PUBLISHED = "openai/clip-vit-base-patch32"


class Clip(nn.Module):
    """Embeddings of photos and texts by any checkpoint of the CLIP family.

    Args:
        weights: hub id, or a local folder in the hub's layout (config, weights, tokenizer, image processor).
        trainable: "none"; "lora", low-rank adapters of the blocks' linear layers; or "full", everything but the
            temperature.
        rank: of the adapters; used by "lora" only.
        alpha: their gain times their rank; used by "lora" only.

    Raises: MissingArtifact, BadInput: the weights cannot be read (`PretrainedSource.model`); BadInput: another kind of
        model, or one without layers that adapters fit.
    """

    data_options = ("weights",)

    def __init__(
        self,
        weights: Text = PUBLISHED,
        trainable: Literal["none", "lora", "full"] = "lora",
        rank: PositiveInt = 8,
        alpha: PositiveFloat = 16.0,
    ) -> None:
        super().__init__()
        self.model, self.tokenizer, self.processor = _load(weights)
        self.model.requires_grad_(trainable == "full")
        if trainable == "lora" and not add_lora(self.model, rank, alpha):
            raise BadInput(
                f"expected linear layers in numbered blocks ('layers.0') in '{weights}', found none to adapt.\n"
                "Train all weights with: retriever.trainable=full"
            )
        for name in ("logit_scale", "logit_bias"):  # a learnt temperature would adapt to easy batches
            if hasattr(self.model, name):
                getattr(self.model, name).requires_grad_(False)

    @property
    def scale(self) -> float:
        """Factor on cosines in the checkpoint's training: the inverse of its temperature."""
        return float(self.model.logit_scale.detach().exp())

    def embed_images(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """Unit vectors [B, D] of B photos [3, H, W] in [0, 1]: one tensor, or photos of any sizes."""
        pixels = self.processor(
            [image.float() for image in images],
            do_rescale=False,  # photos are in [0, 1] already
            do_convert_rgb=False,
            input_data_format="channels_first",
            return_tensors="pt",
        ).to(self.model.device)
        return normalize(self.model.get_image_features(**pixels).pooler_output.float(), dim=-1)

    def embed_dense(self, images: Tensor) -> Tensor:
        """Unit vectors [B, D, h, w] of the patches of images [B, 3, H, W] in [0, 1]; larger images have more."""
        return normalize(dense_embeddings(self.model, self.processor, images), dim=1)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors [P, D] of P texts, truncated to the model's context length."""
        config = self.model.config
        tokens = self.tokenizer(
            list(texts),
            # SigLIP pools the last position and was trained on padded texts only
            padding="max_length" if config.model_type.startswith("siglip") else True,
            truncation=True,
            max_length=config.text_config.max_position_embeddings,
            return_tensors="pt",
        ).to(self.model.device)
        return normalize(self.model.get_text_features(**tokens).pooler_output.float(), dim=-1)

    def save(self, path: Path) -> None:
        """Atomically write the folder `path` in the hub's layout, with the adapters merged into the weights."""
        from transformers.utils import logging as hub_logging

        with atomic_folder(path) as fresh:
            bars = hub_logging.is_progress_bar_enabled()
            hub_logging.disable_progress_bar()  # it would garble the progress bar of the fit that saves
            self.model.save_pretrained(fresh, state_dict=merged_state(self.model))
            if bars:
                hub_logging.enable_progress_bar()
            self.tokenizer.save_pretrained(fresh)
            self.processor.save_pretrained(fresh)


def _load(weights: str) -> tuple[Any, Any, Any]:
    """Model in evaluation mode and single precision, tokenizer, image processor."""
    import torch
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    source = PretrainedSource(
        weights,
        "a CLIP or SigLIP model",
        PUBLISHED,
        "retriever.weights",
        hint="The tokenizer of the first SigLIP needs: pip install sentencepiece protobuf. Without: "
        "retriever.weights=google/siglip2-base-patch16-224",
    )
    model = source.model(AutoModel, dtype=torch.float32)
    lacks = [name for name in REQUIRED if not hasattr(model, name)]
    if lacks:
        raise BadInput(
            f"expected a model that embeds both photos and texts in '{weights}', got a {type(model).__name__}, which "
            f"has no {lacks[0]}.\nUse one of the CLIP family: retriever.weights={PUBLISHED}"
        )
    return model, source.part(AutoTokenizer), source.part(AutoImageProcessor, backend="torchvision")
