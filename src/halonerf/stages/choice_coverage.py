"""Photos that together show as much of the building as they can: no second copy of what is well covered."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy.sparse import csr_matrix

AGAIN = 0.5  # what a point is worth that one chosen photo more shows already: the third look at it is worth a quarter


def incidence(seen: Iterable[np.ndarray], points: int) -> csr_matrix:
    """Which photo saw which point, [V, points] of zeros and ones, from each photo's points."""
    rows = [np.unique(which) for which in seen]
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    columns = np.concatenate(rows).astype(np.int64) if rows else np.zeros(0, np.int64)
    return csr_matrix((np.ones(len(columns)), columns, starts), shape=(len(rows), points))


def covering(score: np.ndarray, sees: csr_matrix, photos: int) -> list[int]:
    """At most `photos` photos, each the one that adds most to those before it; photos that add nothing are left out.

    What a photo adds is its score times the sum over the points that it shows of 0.5^(chosen photos that show it).
    Of equals, the first is taken. The sum that is made greatest is submodular, so that the greedy choice has at least
    1 - 1/e of the best one's (Nemhauser, Wolsey and Fisher, 1978).

    Args:
        score: [V], non-negative; 0 is never chosen.
        sees: [V, N], see `incidence`.
    """
    worth = np.ones(sees.shape[1])
    left = np.asarray(score, np.float64).copy()
    chosen: list[int] = []
    for _ in range(min(photos, len(left))):
        gain = left * (sees @ worth)
        best = int(gain.argmax())
        if gain[best] <= 0:
            break
        chosen.append(best)
        left[best] = 0.0
        worth[sees.indices[sees.indptr[best] : sees.indptr[best + 1]]] *= AGAIN
    return chosen
