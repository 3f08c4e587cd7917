"""A text tower that others trained: the text encoder of CLIP, SigLIP or SigLIP 2, frozen, and a projection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from halonerf.errors import BadInput
from halonerf.segmenters.hub import read_pretrained


class HubText(nn.Module):
    """Embeds a text by a frozen encoder and a learned linear map.

    Args:
        weights: hub id, or a local folder in the hub's layout, of a model with `get_text_features`.
        size: length of a text's embedding.

    Raises: MissingArtifact, BadInput as `read_pretrained`; BadInput where the model does not embed texts.
    """

    def __init__(self, weights: str, size: int = 128) -> None:
        super().__init__()
        from transformers import AutoModel, AutoTokenizer

        self.encoder: Any
        self.encoder, self.tokenizer = read_pretrained(
            weights,
            "a text encoder",
            "openai/clip-vit-base-patch32",
            "segmenter=timm_text segmenter.text",
            AutoModel,
            AutoTokenizer,
        )
        if not hasattr(self.encoder, "get_text_features"):
            raise BadInput(
                f"expected a model that embeds texts, such as CLIP or SigLIP, in '{weights}', got a "
                f"{type(self.encoder).__name__}.\nThe small tower that needs none is: segmenter.text=letters"
            )
        if hasattr(self.encoder, "vision_model"):
            self.encoder.vision_model = nn.Identity()  # most of the weights, and nobody asks it
        self.encoder.requires_grad_(False)
        # SigLIP learned on texts padded to one length, CLIP on texts that end where they end
        self.padding = "max_length" if "siglip" in self.encoder.config.model_type else True
        self.out = nn.Linear(self._features(["a"]).shape[1], size)
        self.norm = nn.LayerNorm(size, elementwise_affine=False)

    def forward(self, prompts: Sequence[str]) -> Tensor:
        """Embeddings [P, size], each of mean 0 and variance 1."""
        return self.norm(self.out(self._features(prompts)))

    def train(self, mode: bool = True) -> HubText:
        """Set the projection's mode; the encoder stays in evaluation mode."""
        super().train(mode)
        self.encoder.train(False)
        return self

    @torch.no_grad()
    def _features(self, prompts: Sequence[str]) -> Tensor:
        words = self.tokenizer(list(prompts), padding=self.padding, truncation=True, return_tensors="pt")
        found = self.encoder.get_text_features(**words.to(self.encoder.device))
        return found.pooler_output
