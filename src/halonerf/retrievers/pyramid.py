"""Dense features of a text segmenter: its pyramid, before any text, at the finest resolution."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from halonerf.errors import BadInput
from halonerf.retrievers.projected import pixel_features


class Pyramid(nn.Module):
    """A `DenseEncoder`: all levels of a segmenter's feature pyramid, resampled to the finest one and concatenated.

    Args:
        segmenter: `encode` gives `level0`, `level1`, …, each of half the resolution before it, and `size`. It stays
            frozen.

    Raises: BadInput: the segmenter has no pyramid.
    """

    def __init__(self, segmenter: Any) -> None:
        super().__init__()
        self.segmenter = segmenter.requires_grad_(False).eval()
        with torch.no_grad():
            encoded = segmenter.encode(torch.zeros(1, 3, 64, 64))
        if "level0" not in encoded:
            raise BadInput(
                f"expected a segmenter with a feature pyramid, got {type(segmenter).__name__}.\n"
                "Use segmenter=timm_text's config for retriever.segmenter."
            )

    @torch.no_grad()
    def embed_dense(self, images: Tensor) -> Tensor:
        """Features [B, D, h, w] over the whole of images [B, 3, H, W] in [0, 1]."""
        return pixel_features(self.segmenter.encode(images.float()))
