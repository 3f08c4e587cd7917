"""Other framings and other light for a photo that is learnt from. Draws come from the generator that is passed in."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

NIGHT_SHARE, SOFT_SHARE, NOISY_SHARE, GREY_SHARE = 0.15, 0.2, 0.3, 0.05  # of all photos


def crop_window(
    height: int, width: int, smallest: float, largest: float, stretch: float, random: np.random.Generator
) -> tuple[int, int, int, int]:
    """(top, left, rows, columns), px, of a random part of a photo, anywhere in it.

    Args:
        smallest, largest: of the photo's short side, the part's side: the root of rows times columns.
        stretch: the sides' ratio lies within exp(-stretch) and exp(stretch); 0 gives squares. The photo cuts off
            what is longer than itself.
    """
    side = min(height, width) * random.uniform(smallest, largest)
    half = random.uniform(-stretch, stretch) / 2
    rows, columns = (max(1, round(side * float(np.exp(turn)))) for turn in (half, -half))
    rows, columns = min(rows, height), min(columns, width)
    return int(random.integers(height - rows + 1)), int(random.integers(width - columns + 1)), rows, columns


def resampled(pictures: Tensor, size: int) -> Tensor:
    """[C, h, w] at [C, size, size], averaged over areas where it shrinks."""
    if pictures.shape[-2:] == (size, size):
        return pictures
    return interpolate(pictures[None], size=(size, size), mode="bilinear", antialias=True, align_corners=False)[0]


def relit(photo: Tensor, random: np.random.Generator) -> Tensor:
    """The photo [3, H, W] in [0, 1] at another exposure, white balance, saturation; at night, soft or noisy at times.

    Gains act on linear light (a plain power of 2.2), as a camera's do, and the result is clipped as a sensor clips.
    """
    linear = photo.clamp(0, 1) ** 2.2
    gain = np.exp(random.normal(0.0, 0.35)) * np.exp(random.normal(0.0, 0.1, (3, 1, 1)))
    if random.random() < NIGHT_SHARE:
        tint = np.array([[1.0, 0.75, 0.45], [0.5, 0.65, 1.0]])[random.integers(2)].reshape(3, 1, 1)  # lamps, dusk
        gain = gain * random.uniform(0.05, 0.4) * tint
    linear = (linear * torch.from_numpy(gain).float()).clamp(0, 1)
    lit = linear ** (1 / 2.2 * float(np.exp(random.normal(0.0, 0.15))))
    grey = lit.mean(dim=0, keepdim=True)
    saturation = 0.0 if random.random() < GREY_SHARE else random.uniform(0.5, 1.4)
    lit = grey + (lit - grey) * saturation
    if random.random() < SOFT_SHARE:
        lit = avg_pool2d(lit[None], 3, stride=1, padding=1, count_include_pad=False)[0]
    if random.random() < NOISY_SHARE:
        deviation = random.uniform(0.005, 0.05)
        lit = lit + torch.from_numpy(random.normal(0.0, deviation, tuple(lit.shape))).float()
    return lit.clamp(0, 1)
