"""Which photos a query looks at: few that together see all of the building well."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def select_covering_photos(
    seen: NDArray[np.floating], score: NDArray[np.floating], photos: int
) -> list[tuple[int, float]]:
    """At most `photos` rows of `seen`, picked one by one, each with the share of what can be gained that it adds.

    With q_ie how large photo i shows element e, as a share of how large any photo does, s_i the trust in the photo and
    m_e how much of all photos the element takes, the rows make

        sum_e m_e (1 - prod_i (1 - s_i q_ie))

    large. That is submodular, so picking the best each time reaches at least 63 % of the best choice there is
    (Nemhauser, Wolsey & Fisher, 1978). Photos that add nothing are left out; of equal ones the first is taken.

    Args:
        seen: [V, E], share of photo i that element e takes. score: [V], how far a photo is trusted; from 1 on, fully.
    """
    seen = np.asarray(seen, dtype=np.float32)
    largest, matter = seen.max(axis=0, initial=0.0), seen.sum(axis=0)
    trust = np.clip(np.asarray(score, dtype=np.float32), 0.0, 1.0)
    quality = seen / np.maximum(largest, 1e-12) * trust[:, None]
    left = matter / max(float(matter.sum()), 1e-12)  # [E], what of each element's weight is still to be seen
    free = np.ones(len(seen), dtype=bool)
    picked: list[tuple[int, float]] = []
    while len(picked) < photos and free.any():
        gain = np.where(free, quality @ left, -1.0)
        best = int(gain.argmax())
        if gain[best] <= 0:
            break
        picked.append((best, float(gain[best])))
        free[best] = False
        left *= 1 - quality[best]
    return picked
