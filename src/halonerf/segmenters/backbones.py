"""timm's backbones as feature pyramids of strides 4, 8, 16 and 32, whatever the size of the photo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from halonerf.errors import BadInput

STRIDES = (4, 8, 16, 32)  # px of the photo a pixel of the features
PROBE = (64, 96)  # px; neither square nor the size of anybody's pretraining


class Levels(NamedTuple):
    """Where a backbone's answer has the four strides."""

    indices: Sequence[int]
    widths: Sequence[int]  # channels
    channels_last: bool

    def of(self, answer: Sequence[Tensor]) -> list[Tensor]:
        """The four feature maps, [B, C, h, w], the finest first."""
        chosen = [answer[index] for index in self.indices]
        return [level.permute(0, 3, 1, 2) for level in chosen] if self.channels_last else chosen


def make_backbone(name: str) -> tuple[nn.Module, Levels]:
    """A timm model with random weights, convolutional or a hierarchical transformer, and its levels.

    Raises: BadInput where timm has no such model, or it lacks one of the strides, or takes photos of one size only.
    """
    import timm

    trouble = ""
    attempts: list[dict[str, Any]] = [{}, {"strict_img_size": False}]  # so timm's Swin is told to take any size
    for options in attempts:
        try:
            model: Any = timm.create_model(name, features_only=True, pretrained=False, **options)
            reductions, channels = model.feature_info.reduction(), model.feature_info.channels()
        except (RuntimeError, TypeError, AttributeError) as error:  # unknown; no such option; no features
            trouble = trouble or str(error)
            continue
        if not set(STRIDES) <= set(reductions):
            trouble = f"it has features at strides {reductions}"
            break
        indices = [reductions.index(stride) for stride in STRIDES]
        widths = [channels[index] for index in indices]
        try:
            with torch.no_grad():
                answer = model.eval()(torch.zeros(1, 3, *PROBE))
        except (AssertionError, RuntimeError) as error:  # timm's own check of sizes, or a table that does not fit
            trouble = str(error)
            continue
        shape = answer[indices[0]].shape
        levels = Levels(indices, widths, channels_last=shape[1] != widths[0] and shape[-1] == widths[0])
        return model.train(), levels
    raise BadInput(
        f"expected a timm backbone with features at strides 4, 8, 16 and 32 of photos of any size, but '{name}' does "
        f"not do: {trouble}.\nThe default is: segmenter.backbone=regnety_002. Others that do: convnextv2_atto, "
        "pvt_v2_b0, swin_tiny_patch4_window7_224"
    )
