"""Which descriptors of two photos belong together: mutual nearest neighbours that stand out."""

from __future__ import annotations

import torch
from torch import Tensor

ROWS = 2048  # compared at once, which bounds memory


def mutual_nearest(
    first: Tensor, second: Tensor, max_ratio: float = 1.0, min_cosine: float = -1.0
) -> tuple[Tensor, Tensor]:
    """Pairs that are each other's nearest, and nearer than the runner-up (Lowe 2004, section 7.1), both ways.

    Args:
        first, second: [N, D], [M, D], unit length.
        max_ratio: largest Euclidean distance to the nearest over that to the second nearest; 1 lets all pass.
        min_cosine: smallest cosine of a pair.
    Returns: indices [K, 2], sorted by the first; cosine [K].
    """
    if len(first) == 0 or len(second) == 0:
        return torch.zeros(0, 2, dtype=torch.long), torch.zeros(0)
    top1, index1 = _two_nearest(first, second)
    top2, index2 = _two_nearest(second, first)
    rows = torch.arange(len(first))
    mate = index1[:, 0]
    kept = (index2[mate, 0] == rows) & (top1[:, 0] >= min_cosine)
    if max_ratio < 1:
        kept &= _stands_out(top1, max_ratio) & _stands_out(top2, max_ratio)[mate]
    return torch.stack([rows[kept], mate[kept]], dim=1), top1[kept, 0]


def _two_nearest(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and indices [N, 2] of the two nearest; a lone candidate has a runner-up at the far end."""
    values = torch.full((len(first), 2), -1.0)
    index = torch.zeros(len(first), 2, dtype=torch.long)
    most = min(2, len(second))
    for start in range(0, len(first), ROWS):
        found = (first[start : start + ROWS] @ second.T).topk(most, dim=1)
        values[start : start + ROWS, :most], index[start : start + ROWS, :most] = found.values, found.indices
    return values, index


def _stands_out(cosine: Tensor, max_ratio: float) -> Tensor:
    distance = (2 - 2 * cosine.clamp(-1, 1)).clamp(min=0).sqrt()
    return distance[:, 0] < max_ratio * distance[:, 1]
