"""CLIP (Radford et al., 2021), SigLIP (Zhai et al., 2023), SigLIP 2 (Tschannen et al., 2025) through transformers.

Photos go through the checkpoint's own image processor, texts through its own tokenizer, so that an embedding is what
transformers' own pipeline gives for the same checkpoint.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import normalize

from halonerf.errors import BadInput, MissingArtifact
from halonerf.retrievers.lora import add_lora, merged_state
from halonerf.retrievers.maskclip import dense_embeddings

TRAINABLE = ("none", "lora", "full")
PARTS = ("get_image_features", "get_text_features", "logit_scale")


class Clip(nn.Module):
    """Embeds photos and texts with any checkpoint of the CLIP family.

    Args:
        weights: hub id, or a local folder in the hub's layout (config, weights, tokenizer, image processor).
        trainable: "none"; "lora", low-rank corrections of the blocks' linear layers; or "full", everything but the
            temperature.
        rank: of the corrections; used by "lora" alone.
        alpha: their gain times their rank; used by "lora" alone.

    Raises:
        MissingArtifact: the weights are neither in the folder, nor in the local cache, nor to be had from the hub.
        BadInput: the files hold no such model, or only a part of its weights; or an option is out of its range.
    """

    data_options = ("weights",)

    def __init__(
        self,
        weights: str = "openai/clip-vit-base-patch32",
        trainable: str = "lora",
        rank: int = 8,
        alpha: float = 16.0,
    ) -> None:
        super().__init__()
        if trainable not in TRAINABLE or rank < 1:
            raise BadInput(
                f"expected retriever.trainable to be one of {', '.join(TRAINABLE)} and retriever.rank at least 1, "
                f"got {trainable!r} and {rank}.\nThe defaults are: retriever.trainable=lora retriever.rank=8"
            )
        self.model, self.tokenizer, self.processor = _load(weights)
        self.model.requires_grad_(trainable == "full")
        if trainable == "lora" and not add_lora(self.model, rank, alpha):
            raise BadInput(
                f"expected linear layers in numbered blocks ('layers.0') in '{weights}', found none to correct.\n"
                "Train all of it with: retriever.trainable=full"
            )
        for name in ("logit_scale", "logit_bias"):  # a temperature of its own would answer to easy batches
            if hasattr(self.model, name):
                getattr(self.model, name).requires_grad_(False)

    @property
    def scale(self) -> float:
        """What cosines were multiplied by when the checkpoint was trained: the inverse of its temperature."""
        return float(self.model.logit_scale.detach().exp())

    def embed_images(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """Unit vectors [B, D] of B photos [3, H, W] in [0, 1]: one tensor, or photos of any sizes."""
        pixels = self.processor(
            [image.float() for image in images],
            do_rescale=False,  # they are in [0, 1] already
            do_convert_rgb=False,
            input_data_format="channels_first",
            return_tensors="pt",
        ).to(self.model.device)
        return normalize(self.model.get_image_features(**pixels).pooler_output.float(), dim=-1)

    def embed_dense(self, images: Tensor) -> Tensor:
        """Unit vectors [B, D, h, w] of the patches of images [B, 3, H, W] in [0, 1]; larger images have more."""
        return normalize(dense_embeddings(self.model, self.processor, images), dim=1)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors [P, D] of P texts; what is longer than the model reads is cut off."""
        config = self.model.config
        words = self.tokenizer(
            list(texts),
            # SigLIP reads the last of all positions and was trained on padded texts only
            padding="max_length" if config.model_type.startswith("siglip") else True,
            truncation=True,
            max_length=config.text_config.max_position_embeddings,
            return_tensors="pt",
        ).to(self.model.device)
        return normalize(self.model.get_text_features(**words).pooler_output.float(), dim=-1)

    def save(self, path: Path) -> None:
        """Write a folder in the hub's layout, corrections merged into the weights; what `path` held is replaced.

        Written beside `path` and renamed: a folder that exists is whole.
        """
        from transformers.utils import logging as hub_logging

        partial, old = path.with_name(f".{path.name}.partial"), path.with_name(f".{path.name}.old")
        for leftover in (partial, old):
            shutil.rmtree(leftover, ignore_errors=True)
        bars = hub_logging.is_progress_bar_enabled()
        hub_logging.disable_progress_bar()  # it would garble the bar of the fit that saves
        self.model.save_pretrained(partial, state_dict=merged_state(self.model))
        if bars:
            hub_logging.enable_progress_bar()
        self.tokenizer.save_pretrained(partial)
        self.processor.save_pretrained(partial)
        if path.exists():
            path.rename(old)
        partial.rename(path)
        shutil.rmtree(old, ignore_errors=True)


def _load(weights: str) -> tuple[Any, Any, Any]:
    """Model in evaluation mode and single precision, tokenizer, image processor."""
    import torch
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    loaded: Any
    place = str(Path(weights).expanduser()) if Path(weights).expanduser().is_dir() else weights
    try:
        loaded = AutoModel.from_pretrained(place, dtype=torch.float32, output_loading_info=True)
        tokenizer = AutoTokenizer.from_pretrained(place)
        processor = AutoImageProcessor.from_pretrained(place, backend="torchvision")
    except OSError as error:
        raise MissingArtifact(
            f"expected a CLIP or SigLIP model, its tokenizer and its image processor in '{weights}' (a hub id or a "
            f"local folder), but could not get them: {str(error).splitlines()[0]}\n"
            "Download them where there is a network with: hf download openai/clip-vit-base-patch32 --local-dir DIR\n"
            "and use them with: retriever.weights=DIR"
        ) from error
    except (ImportError, ValueError) as error:
        raise BadInput(
            f"expected a CLIP or SigLIP model that transformers can read in '{weights}', but: "
            f"{str(error).strip().splitlines()[0]}\n"
            "The tokenizer of the first SigLIP needs: pip install sentencepiece protobuf. Without: "
            "retriever.weights=google/siglip2-base-patch16-224 or openai/clip-vit-base-patch32"
        ) from error
    model, loading = loaded
    lacks = [part for part in PARTS if not hasattr(model, part)]
    if lacks:
        raise BadInput(
            f"expected a model that embeds photos and texts alike in '{weights}', got a {type(model).__name__}, which "
            f"has no {lacks[0]}.\nUse one of the CLIP family: retriever.weights=openai/clip-vit-base-patch32"
        )
    missing = sorted(loading["missing_keys"]) + sorted(str(key) for key in loading.get("mismatched_keys", ()))
    if missing:
        raise BadInput(
            f"expected all weights of a {type(model).__name__} in '{weights}', but {len(missing)} are missing or of "
            f"another shape, the first: {missing[0]}.\nDownload whole ones with: hf download ID --local-dir DIR"
        )
    return model.eval(), tokenizer, processor
