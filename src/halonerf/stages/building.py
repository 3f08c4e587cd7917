"""Where in a photo the building is, and what of a map is only sky."""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import find_objects, label
from torch import Tensor

CERTAIN = 0.5  # probability from which a pixel is building; the paper's
MARGIN = 0.1  # of the box's height and width, added on each side; the paper's
SMALLEST = 0.01  # share of the photo; a smaller spot is no building that somebody photographed

Box = tuple[int, int, int, int]  # top, left, bottom, right in pixels; the last two are the first beyond


def building_part(probability: np.ndarray) -> np.ndarray:
    """The largest connected part of a map [H, W] that is building, bool [H, W]; the first of equal ones."""
    parts, count = label(probability > CERTAIN)
    if not count:
        return np.zeros(probability.shape, dtype=bool)
    return parts == 1 + int(np.bincount(parts.ravel())[1:].argmax())


def building_box(probability: np.ndarray) -> Box | None:
    """The box around the largest connected part of a map [H, W] that is building, with its margin, inside the photo.

    None where there is none worth cropping to. (HaLo-NeRF, "2D inference".)
    """
    height, width = probability.shape
    part = building_part(probability)
    if part.sum() < max(1, SMALLEST * height * width):
        return None
    rows, columns = find_objects(part.astype(np.int8))[0]
    tall, wide = (math.ceil(MARGIN * (side.stop - side.start)) for side in (rows, columns))
    return (
        max(0, rows.start - tall),
        max(0, columns.start - wide),
        min(height, rows.stop + tall),
        min(width, columns.stop + wide),
    )


def without_sky(probability: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Concepts [P, H, W] without the last map, the sky's, which takes its share of each: p (1 - sky).

    Where the sky is unknown the concepts stay as they are.
    """
    sky = probability[-1] * known[-1]
    return probability[:-1] * (1 - sky), known[:-1]
