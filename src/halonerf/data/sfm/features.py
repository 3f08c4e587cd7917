"""SIFT features of photos, in the pixels that the reconstruction is made in.

The *mapping frame* of a photo is its upright original shrunk by one factor for both axes so that its long side is
`size` pixels (smaller photos keep theirs). Thresholds in pixels then mean the same for every photo.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pycolmap
from PIL import Image

from halonerf.colmap_log import quiet_colmap
from halonerf.data.photo_io import read_photo, shrink


@dataclass(frozen=True)
class Features:
    """Key points [N, 2] (x, y), mapping frame; `scale` [N] px; RootSIFT `descriptors` uint8 [N, 128], norm 512."""

    points: np.ndarray
    scale: np.ndarray
    descriptors: np.ndarray


def mapping_scale(width: int, height: int, size: int) -> float:
    """Pixels of the mapping frame per pixel of the upright original, at most 1."""
    return min(1.0, size / max(width, height))


def extract_features(
    folder: Path, names: Sequence[str], size: int, most: int, peak_threshold: float, upright: bool = True
) -> list[Features]:
    """SIFT in several photos at once, on every core, the same on every run.

    Args:
        size: long side of the image searched, px.
        most: features kept a photo, those of largest scale first.
        peak_threshold: contrast below which extrema of the difference of Gaussians are dropped, in [0, 1] grey.
    """
    with tempfile.TemporaryDirectory(prefix="halonerf-") as scratch:
        images = Path(scratch) / "images"
        images.mkdir()
        stretch = []
        for index, name in enumerate(names):
            pixels = read_photo(folder / name, upright)
            height, width = pixels.shape[:2]
            scale = mapping_scale(width, height, size)
            small = shrink(pixels, max(1, round(width * scale)), max(1, round(height * scale)))
            Image.fromarray(small).convert("L").save(images / f"{index:06d}.png", compress_level=1)
            stretch.append((width * scale / small.shape[1], height * scale / small.shape[0]))
        options = pycolmap.FeatureExtractionOptions()
        options.use_gpu = False
        options.num_threads = len(os.sched_getaffinity(0))
        options.sift.max_num_features = most
        options.sift.peak_threshold = peak_threshold
        database = Path(scratch) / "features.db"
        with quiet_colmap():
            pycolmap.extract_features(
                database,
                images,
                camera_mode=pycolmap.CameraMode.PER_IMAGE,
                extraction_options=options,
                device=pycolmap.Device.cpu,
            )
        found = []
        with pycolmap.Database.open(database) as store:
            ids = {image.name: image.image_id for image in store.read_all_images()}
            for index in range(len(names)):
                image_id = ids[f"{index:06d}.png"]
                found.append(
                    _features(
                        store.read_keypoints(image_id), store.read_descriptors(image_id).data, stretch[index], most
                    )
                )
    return found


def _features(keypoints: np.ndarray, descriptors: np.ndarray, stretch: tuple[float, float], most: int) -> Features:
    if len(keypoints) == 0:
        return Features(np.zeros((0, 2), np.float32), np.zeros(0, np.float32), np.zeros((0, 128), np.uint8))
    if keypoints.shape[1] == 6:  # x, y and the affine shape [a11 a12; a21 a22]
        scale = np.sqrt(np.abs(keypoints[:, 2] * keypoints[:, 5] - keypoints[:, 3] * keypoints[:, 4]))
    else:
        scale = keypoints[:, 2]
    order = np.argsort(-scale, kind="stable")[:most]
    points = keypoints[order, :2] * np.asarray(stretch, np.float32)
    return Features(points.astype(np.float32), scale[order].astype(np.float32), descriptors[order].astype(np.uint8))
