"""The maps to score, as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Maps = dict[str, NDArray[np.floating]]


def read_maps(path: Path, wanted: Mapping[str, int]) -> Maps | None:
    """Map of each concept, [h, w] float32 in [0, 1] at working size, unknown as 0; None without a file.

    Args:
        path: what `segment` or `localize` left for a view.
        wanted: concept -> index in the file.
    """
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as stored:
        probability = stored["probability"].astype(np.float32) / 255
        if "known" in stored:
            probability *= stored["known"]
    return {concept: probability[index] for concept, index in wanted.items()}
