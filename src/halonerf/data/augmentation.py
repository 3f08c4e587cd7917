"""Data augmentation: random crops, and random exposure, colour, blur and noise."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

NIGHT_SHARE, BLUR_SHARE, NOISE_SHARE, GREY_SHARE = 0.15, 0.2, 0.3, 0.05  # of all photos


def crop_window(
    height: int, width: int, min_side: float, max_side: float, stretch: float, random: np.random.Generator
) -> tuple[int, int, int, int]:
    """Random crop of a photo, uniform in position: (top, left, rows, columns), px.

    Args:
        height, width: of the photo, px.
        min_side, max_side: share of the photo's short side, of the crop's side: the root of rows times columns.
        stretch: the ratio of its sides lies within exp(-stretch) and exp(stretch), 0 gives squares; longer sides are
            cut off at the photo's.
    """
    side = min(height, width) * random.uniform(min_side, max_side)
    half = random.uniform(-stretch, stretch) / 2
    rows, columns = (max(1, round(side * float(np.exp(power)))) for power in (half, -half))
    rows, columns = min(rows, height), min(columns, width)
    return int(random.integers(height - rows + 1)), int(random.integers(width - columns + 1)), rows, columns


def resampled(pictures: Tensor, size: int) -> Tensor:
    """Images [C, h, w] resampled to [C, size, size], with antialiasing."""
    if pictures.shape[-2:] == (size, size):
        return pictures
    return interpolate(pictures[None], size=(size, size), mode="bilinear", antialias=True, align_corners=False)[0]


def relit(photo: Tensor, random: np.random.Generator) -> Tensor:
    """Photo [3, H, W] in [0, 1] with random exposure, white balance and saturation; at times dark, blurred or noisy.

    Gains act on linear intensities (gamma 2.2), as a camera's do; the result is clipped to [0, 1].
    """
    linear = photo.clamp(0, 1) ** 2.2
    gain = np.exp(random.normal(0.0, 0.35)) * np.exp(random.normal(0.0, 0.1, (3, 1, 1)))
    if random.random() < NIGHT_SHARE:
        tint = np.array([[1.0, 0.75, 0.45], [0.5, 0.65, 1.0]])[random.integers(2)].reshape(3, 1, 1)  # lamps, dusk
        gain = gain * random.uniform(0.05, 0.4) * tint
    linear = (linear * torch.from_numpy(gain).float()).clamp(0, 1)
    result = linear ** (1 / 2.2 * float(np.exp(random.normal(0.0, 0.15))))
    grey = result.mean(dim=0, keepdim=True)
    saturation = 0.0 if random.random() < GREY_SHARE else random.uniform(0.5, 1.4)
    result = grey + (result - grey) * saturation
    if random.random() < BLUR_SHARE:
        result = avg_pool2d(result[None], 3, stride=1, padding=1, count_include_pad=False)[0]
    if random.random() < NOISE_SHARE:
        deviation = random.uniform(0.005, 0.05)
        result = result + torch.from_numpy(random.normal(0.0, deviation, tuple(result.shape))).float()
    return result.clamp(0, 1)
