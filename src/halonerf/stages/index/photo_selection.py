"""Selection of few photos that together show all elements well, for text queries."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def select_covering_photos(
    visibility: NDArray[np.floating], score: NDArray[np.floating], max_photos: int
) -> list[tuple[int, float]]:
    """Greedy selection of at most `max_photos` photos: their indices, each with its gain as a fraction of the maximum.

    With q_ie the size of element e in photo i relative to its largest in any photo, s_i the score of the photo and m_e
    the element's share of all photos, the selection maximises

        sum_e m_e (1 - prod_i (1 - s_i q_ie))

    This is submodular, so that the greedy selection reaches at least 63 % of the optimum (Nemhauser, Wolsey & Fisher,
    1978). A gain of 0 ends the selection; of equal gains the first photo is taken.

    Args:
        visibility: [V, E], fraction of photo i that element e covers. score: [V], clipped to [0, 1].
    """
    visibility = np.asarray(visibility, dtype=np.float32)
    largest, importance = visibility.max(axis=0, initial=0.0), visibility.sum(axis=0)
    trust = np.clip(np.asarray(score, dtype=np.float32), 0.0, 1.0)
    quality = visibility / np.maximum(largest, 1e-12) * trust[:, None]
    left = importance / max(float(importance.sum()), 1e-12)  # [E], weight of each element that is not yet covered
    free = np.ones(len(visibility), dtype=bool)
    picked: list[tuple[int, float]] = []
    while len(picked) < max_photos and free.any():
        gain = np.where(free, quality @ left, -1.0)
        best = int(gain.argmax())
        if gain[best] <= 0:
            break
        picked.append((best, float(gain[best])))
        free[best] = False
        left *= 1 - quality[best]
    return picked
