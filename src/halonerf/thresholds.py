"""From which probability on something counts as found: one rule, for parts, highlights, masks and IoU alike.

A probability of one half is no natural limit: lifting averages photos that agree only in part, and a segmenter's scale
differs from word to word, so that what is found well may lie below one half everywhere. The threshold of a text is
therefore taken from its own probabilities: the value that splits them best in two classes (Otsu 1979), each element or
pixel weighted by how much of the photos it fills. It uses no truth, has no parameter, and does not depend on the scale
of the probabilities. Measured in experiments/thresholds.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

HALF = 0.5  # the threshold at most: what is more probable than not is never left out


@dataclass(frozen=True)
class Decision:
    """How a text's probabilities are read.

    threshold: from which something counts as found, in (0, 1]. highest: the largest known probability, in [0, 1].
    given: whether somebody set the threshold, and knows what is shown.
    """

    threshold: float
    highest: float
    given: bool = False

    @property
    def guess(self) -> bool:
        """Whether nothing is more probable than not: what is shown is the best guess, and must say so."""
        return not self.given and 0 < self.highest < HALF


def decide(probability: ArrayLike, weight: ArrayLike, given: float | None = None) -> Decision:
    """The threshold of a text, by Otsu's rule on its probabilities and at most one half, and the highest of them.

    The threshold t maximises w0 w1 (m0 - m1)^2, w the weight and m the mean of the probabilities below t and of those
    from t on; it lies half-way between the two neighbouring values. Where there are no two values it is one half.

    Args:
        probability: [N] in [0, 1]. weight: [N], non-negative, such as the confidence of elements; 0 is unknown.
        given: a threshold that replaces the text's own.
    """
    values, weights = (np.asarray(part, np.float64).ravel() for part in (probability, weight))
    known = (weights > 0) & np.isfinite(values)
    values, weights = values[known], weights[known]
    highest = float(values.max()) if len(values) else 0.0
    if given is not None:
        return Decision(given, highest, given=True)
    return Decision(min(HALF, otsu(values, weights)), highest)


def otsu(values: NDArray[np.floating], weights: NDArray[np.floating]) -> float:
    """The value between two neighbouring ones of `values` that splits them best; `HALF` without two distinct ones.

    values: [N], finite. weights: [N], positive.
    """
    levels, place = np.unique(values, return_inverse=True)
    if len(levels) < 2:
        return HALF
    amount = np.bincount(place.ravel(), weights=weights)
    below = np.cumsum(amount)[:-1] / amount.sum()
    moment = np.cumsum(amount * levels) / amount.sum()
    between = (moment[-1] * below - moment[:-1]) ** 2 / np.maximum(below * (1 - below), 1e-300)
    best = int(between.argmax())
    return float(levels[best] + levels[best + 1]) / 2
