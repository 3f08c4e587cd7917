"""Mutual nearest neighbours among descriptors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

BLOCK_ROWS = 2048  # descriptors of the first set compared with all of the second at once, which bounds memory


def mutual_nearest(
    first: Tensor, second: Tensor, max_ratio: float = 1.0, min_cosine: float = -1.0, angular: bool = False
) -> tuple[Tensor, Tensor]:
    """Pairs of mutual nearest neighbours that pass the ratio test (Lowe 2004, section 7.1) in both directions.

    Args:
        first, second: [N, D], [M, D], float32, of unit length, on the CPU.
        max_ratio: largest distance to the nearest over that to the second nearest; 1 lets all pass. Where there is no
            second one, the opposite of the descriptor (cosine -1) takes its place.
        min_cosine: smallest cosine of a pair.
        angular: compare angles; else Euclidean distances.
    Returns: indices [K, 2], sorted; cosine [K].
    """
    if len(first) == 0 or len(second) == 0:
        return torch.zeros(0, 2, dtype=torch.long), torch.zeros(0)
    mate, best = np.empty(len(first), np.int64), np.empty(len(first), np.float32)
    runner_up = np.full(len(first), -1.0, np.float32)
    best_back = runner_up_back = np.full(len(second), -1.0, np.float32)
    for start in range(0, len(first), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        cosine = first[rows].numpy() @ second.numpy().T  # NumPy's BLAS: half the time of torch's on AMD
        numbers, nearest = np.arange(len(cosine)), cosine.argmax(axis=1)
        mate[rows], best[rows] = nearest, cosine[numbers, nearest]
        block_best = cosine.max(axis=0)
        if max_ratio < 1:
            mutual = _first_per_column(np.flatnonzero(best[rows] == block_best[nearest]), nearest)
            cosine[mutual, nearest[mutual]] = -1.0  # the other rows cannot turn out mutual and need no runner-up
            runner_up[rows] = cosine.max(axis=1)
            block_runner_up = np.maximum(cosine.max(axis=0), np.minimum(best_back, block_best))
            runner_up_back = np.maximum(runner_up_back, block_runner_up)
        best_back = np.maximum(best_back, block_best)
    kept = (best == best_back[mate]) & (best >= min_cosine)
    if max_ratio < 1:
        distance = _angle if angular else _euclidean
        kept &= distance(best) < max_ratio * distance(np.maximum(runner_up, runner_up_back[mate]))
    chosen = _first_per_column(np.flatnonzero(kept), mate)
    return torch.from_numpy(np.stack([chosen, mate[chosen]], axis=1)), torch.from_numpy(best[chosen])


def _first_per_column(rows: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Those of `rows`, sorted, whose column[row] no earlier one has: equal descriptors would share it."""
    return rows[np.sort(np.unique(column[rows], return_index=True)[1])]


def _angle(cosine: np.ndarray) -> np.ndarray:
    return np.arccos(cosine.clip(-1, 1))


def _euclidean(cosine: np.ndarray) -> np.ndarray:
    return np.sqrt((2 - 2 * cosine.clip(-1, 1)).clip(0))
