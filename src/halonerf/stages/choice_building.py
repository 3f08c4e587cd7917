"""What a photo is worth by how it shows the building, before any text: HaLo-NeRF's two scores."""

from __future__ import annotations

import numpy as np

USUAL = (0.1, 0.9)  # share of the photo that the building covers in a good one; the paper's


def geometry_score(building: np.ndarray) -> float:
    """How well the building sits in the frame, in [0, 1.5]: gap + [0.1 < area < 0.9].

    gap: the smallest distance from the building to a border of the photo, as a share of the side along which it is
    measured (the height for top and bottom), so that portrait and landscape photos of any size compare; 0 where it
    touches one. area: share of the photo that it covers. (HaLo-NeRF, "Choice of photos".)

    Args:
        building: bool [H, W], the largest part.
    Returns: 0 where there is no building.
    """
    if not building.any():
        return 0.0
    gaps = []
    for across, length in zip((1, 0), building.shape, strict=True):
        where = np.flatnonzero(building.any(axis=across))
        gaps += [where[0] / length, (length - 1 - where[-1]) / length]
    return float(min(gaps) + (USUAL[0] < building.mean() < USUAL[1]))


def occlusion_score(photo: np.ndarray, shown: np.ndarray, valid: np.ndarray) -> float:
    """1 - |not photo and shown| / |shown|: how much of the building that should be seen is, in [0, 1].

    (HaLo-NeRF, "Choice of photos".)

    Args:
        photo, shown: bool [H, W], the building in the photo, and in the field's rendering of its view in its light.
        valid: bool [H, W], pixels that the photo covers; others do not count.
    Returns: 0 where the rendering shows no building: nothing says that the photo does.
    """
    shown = shown & valid
    total = int(shown.sum())
    return 1.0 - int((shown & ~photo).sum()) / total if total else 0.0
