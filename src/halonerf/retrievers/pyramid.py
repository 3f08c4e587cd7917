"""Dense features of a text segmenter: its pyramid, before any text, at the finest resolution."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from halonerf.errors import BadInput
from halonerf.protocols import FeatureSegmenter


class Pyramid(nn.Module):
    """A `DenseEncoder`: the features of a text segmenter, all levels of a pyramid for instance.

    Args:
        segmenter: a `FeatureSegmenter`; it stays frozen.

    Raises: BadInput: the segmenter has no pyramid.
    """

    def __init__(self, segmenter: FeatureSegmenter) -> None:
        super().__init__()
        if not isinstance(segmenter, FeatureSegmenter):
            raise BadInput(
                f"expected a segmenter with dense features, got {type(segmenter).__name__}.\n"
                "Use segmenter=timm_text's config for retriever.segmenter."
            )
        module: Any = segmenter
        self.segmenter = module.requires_grad_(False).eval()

    @torch.no_grad()
    def embed_dense(self, images: Tensor) -> Tensor:
        """Features [B, D, h, w] over the whole of images [B, 3, H, W] in [0, 1]."""
        return self.segmenter.dense_features(self.segmenter.encode(images.float()))
