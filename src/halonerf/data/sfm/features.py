"""SIFT features of photos, in the pixels that the reconstruction is made in.

The *mapping frame* of a photo is its upright original shrunk by one factor for both axes so that its long side is
`size` pixels (smaller photos keep theirs). Thresholds in pixels then mean the same for every photo.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from halonerf.data.photo_io import read_photo
from halonerf.geometry import resize_pixels
from halonerf.sift import SiftFeatures, extract_sift


def mapping_scale(width: int, height: int, size: int) -> float:
    """Pixels of the mapping frame per pixel of the upright original, at most 1."""
    return min(1.0, size / max(width, height))


def extract_features(
    folder: Path, names: Sequence[str], size: int, max_features: int, peak_threshold: float, upright: bool = True
) -> list[SiftFeatures]:
    """SIFT features of several photos, points and scales in px of the mapping frame, by all cores.

    Args:
        folder, names: the photos, paths below the folder.
        size: long side of the mapping frame, px.
        max_features, peak_threshold: see `halonerf.sift.extract_sift`.
        upright: apply the EXIF orientation.
    """
    greys, stretch = [], []
    for name in names:
        pixels = read_photo(folder / name, upright)
        height, width = pixels.shape[:2]
        scale = mapping_scale(width, height, size)
        small = resize_pixels(pixels, max(1, round(width * scale)), max(1, round(height * scale)))
        greys.append(np.asarray(Image.fromarray(small).convert("L")))
        stretch.append((width * scale / small.shape[1], height * scale / small.shape[0]))
    found = extract_sift(greys, max_features, peak_threshold, len(os.sched_getaffinity(0)))
    return [
        replace(features, points=features.points * np.asarray(factor, np.float32))
        for features, factor in zip(found, stretch, strict=True)
    ]
