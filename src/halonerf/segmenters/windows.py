"""Square windows over a photo, and the smooth average of what a square network says in them.

A photo is first scaled until its short side equals the network's input, so that windows are plain crops along its
long side. The last window ends at the photo's last pixel: the union is the whole photo (a fixed stride alone would
leave a strip at the right or the bottom).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate


def fit_short_side(images: Tensor, side: int) -> Tensor:
    """Resample images [B, C, H, W] so that the short side is `side` px; the long side is rounded to whole pixels."""
    height, width = images.shape[-2:]
    scale = side / min(height, width)
    size = (max(side, round(height * scale)), max(side, round(width * scale)))
    if size == (height, width):
        return images
    return interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)


def window_starts(length: int, side: int, stride: float) -> list[int]:
    """First pixels of windows of `side` px that cover `length` px evenly, at most `stride` * `side` px apart.

    Raises: ValueError where `length` is shorter than a window or `stride` would leave gaps.
    """
    if length < side:
        raise ValueError(f"expected a length of at least the window's {side} px, got {length}")
    if not 0 < stride <= 1:
        raise ValueError(f"expected a stride in (0, 1] of the window's side, got {stride}")
    steps = math.ceil((length - side) / max(1.0, stride * side))
    return [round(index * (length - side) / steps) for index in range(steps + 1)] if steps else [0]


def cut_windows(images: Tensor, side: int, stride: float) -> Tensor:
    """Windows [B, N, C, side, side] of images [B, C, H, W] whose short side is `side`, in the order of `merge`."""
    corners = window_corners(images.shape[-2], images.shape[-1], side, stride)
    return torch.stack([images[..., top : top + side, left : left + side] for top, left in corners], dim=1)


def window_corners(height: int, width: int, side: int, stride: float) -> list[tuple[int, int]]:
    """(top, left) of every window, in pixels."""
    return [(top, left) for top in window_starts(height, side, stride) for left in window_starts(width, side, stride)]


def merge_windows(values: Tensor, height: int, width: int, stride: float) -> Tensor:
    """Average windows [..., N, side, side] into [..., height, width]; a window counts less towards its edges.

    The weight is a raised cosine that never reaches zero, so that seams are smooth and corners still count.
    """
    side = values.shape[-1]
    ramp = torch.sin(math.pi * (torch.arange(side, device=values.device) + 0.5) / side) ** 2 + 1e-3
    weight = (ramp[:, None] * ramp).to(values.dtype)
    total = values.new_zeros(*values.shape[:-3], height, width)
    mass = values.new_zeros(height, width)
    for index, (top, left) in enumerate(window_corners(height, width, side, stride)):
        total[..., top : top + side, left : left + side] += values[..., index, :, :] * weight
        mass[top : top + side, left : left + side] += weight
    return total / mass
