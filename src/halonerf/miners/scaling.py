"""Photos at a matcher's size and in grey, and its points in the photos' own pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from halonerf.errors import BadInput
from halonerf.visualization.pictures import REC601, luminance


def limit_size(image: Tensor, size: int, multiple: int = 1) -> tuple[Tensor, Tensor]:
    """The photo with its long side at most `size` px, and the scale from its pixels to the original's.

    Args:
        image: [3, H, W] or [1, H, W] in [0, 1]; smaller photos are not enlarged.
        multiple: px, of which both sides of the result are a multiple, by shrinking a little more; at least one.
    Returns: [3, h, w] in [0, 1]; pixels of the original per pixel of the result, [2] (x, y).

    Raises: BadInput for another shape.
    """
    if image.ndim != 3 or image.shape[0] not in (1, 3) or 0 in image.shape:
        raise BadInput(f"expected a photo [3, height, width] in [0, 1], got {list(image.shape)}")
    height, width = image.shape[1:]
    scale = min(1.0, size / max(height, width))
    small_h, small_w = (max(multiple, round(side * scale) // multiple * multiple) for side in (height, width))
    image = image.float().expand(3, -1, -1)
    if (small_h, small_w) != (height, width):
        image = F.interpolate(image[None], (small_h, small_w), mode="bilinear", antialias=True, align_corners=False)[0]
        image = image.clamp(0, 1)
    return image, torch.tensor([width / small_w, height / small_h])


def luma(image: Tensor) -> Tensor:
    """Grey [H, W] of a photo [3, H, W], in the same range."""
    return luminance(image.permute(1, 2, 0), REC601)


def clamp_inside(points: Tensor, image: Tensor) -> Tensor:
    """Points [N, 2], px, moved to the border of `image` [..., H, W] where they lie outside it."""
    limit = torch.tensor([image.shape[-1], image.shape[-2]], dtype=points.dtype)
    return torch.minimum(points.clamp(min=0), limit)
