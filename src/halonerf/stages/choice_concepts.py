"""What a photo is worth for a concept, by what its map says and what the other photos say."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

FLOOR = 0.02  # of a photo's pixels, counted as right in every map: "it is not here", surely said, is an answer, too
LEAST = 0.05  # share of a photo's known pixels that others must have seen to say whether it agrees


def certainty(probability: np.ndarray, known: np.ndarray) -> list[float | None]:
    """How decided each map is, in (0, 1]: (yes + f) / (yes + f + doubt) with a small f.

    doubt: mean of 4 p (1 - p) over known pixels, 0 for a map of zeros and ones, 1 for one half everywhere. yes: mean
    of max(0, 2 p - 1)^2, what is surely claimed. Doubt therefore counts against what is claimed, not against the
    wide "no" around it, of which every map has plenty.

    Args:
        probability: [P, H, W] in [0, 1]. known: bool [P, H, W].
    Returns: None for a concept of which nothing is known.
    """
    pixels = known.sum(axis=(1, 2))
    count = np.maximum(1, pixels)
    yes = (np.square(np.clip(2 * probability - 1, 0, None)) * known).sum(axis=(1, 2)) / count + FLOOR
    doubt = (4 * probability * (1 - probability) * known).sum(axis=(1, 2)) / count
    return [float(value) if n else None for value, n in zip(yes / (yes + doubt), pixels, strict=True)]


def agreement(given: Tensor, others: Tensor, weight: Tensor, known: Tensor) -> list[float | None]:
    """Soft intersection over union of a photo's maps with what the others say of its view, in (0, 1].

    (sum w min(p, q) + f sum w) / (sum w max(p, q) + f sum w), a little f letting two maps agree that there is nothing.

    Args:
        given: p [H, W, P] in [0, 1], the photo's own. others: q [H, W, P] in [0, 1].
        weight: w [H, W, P], how far both are known. known: [H, W, P], how far the photo's own map is.
    Returns: None for a concept where others know too little of the photo.
    """
    total = weight.sum(dim=(0, 1))
    both = (weight * torch.minimum(given, others)).sum(dim=(0, 1)) + FLOOR * total
    either = (weight * torch.maximum(given, others)).sum(dim=(0, 1)) + FLOOR * total
    enough = (total >= LEAST * known.sum(dim=(0, 1))) & (total > 0)
    return [float(a / b) if seen else None for a, b, seen in zip(both, either, enough, strict=True)]


def relative(values: np.ndarray) -> np.ndarray:
    """Each photo's value [V, P] against the concept's median over photos, held in [0, 1].

    Concepts are not equally easy, so a value means something only among those of its concept; a photo better than
    most is as good as they come. NaN (nothing known) stays NaN.
    """
    known = np.isfinite(values)
    columns = zip(values.T, known.T, strict=True)
    middle = np.array([np.median(column[seen]) if seen.any() else 1.0 for column, seen in columns])
    return np.clip(values / np.maximum(middle, 1e-9), 0.0, 1.0)
