"""SIFT features (Lowe, IJCV 2004) by COLMAP, with RootSIFT descriptors (Arandjelović and Zisserman, CVPR 2012)."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pycolmap
from PIL import Image

from halonerf.colmap_log import quiet_colmap


@dataclass(frozen=True)
class SiftFeatures:
    """Features of one image, largest scale first.

    points: [N, 2] (x, y), px, pixel centres at +0.5. scale: [N], px. descriptors: RootSIFT, uint8 [N, 128], norm 512.
    """

    points: np.ndarray
    scale: np.ndarray
    descriptors: np.ndarray


def extract_sift(
    images: Sequence[np.ndarray], max_features: int, peak_threshold: float, threads: int
) -> list[SiftFeatures]:
    """SIFT features of each image, the same on every run and for every number of threads.

    COLMAP reads the images from files, since its extractor for arrays would block all other Python threads.

    Args:
        images: grey, uint8 [H, W] each, of any sizes.
        max_features: per image, those of largest scale.
        peak_threshold: contrast below which extrema of the difference of Gaussians are dropped, in [0, 1] grey.
        threads: images searched in parallel.
    """
    if not images:
        return []
    options = pycolmap.FeatureExtractionOptions()
    options.use_gpu, options.num_threads = False, threads
    options.sift.max_num_features, options.sift.peak_threshold = max_features, peak_threshold
    with tempfile.TemporaryDirectory(prefix="halonerf-") as scratch:
        folder, database = Path(scratch) / "images", Path(scratch) / "features.db"
        folder.mkdir()
        names = [f"{index:06d}.png" for index in range(len(images))]
        for name, image in zip(names, images, strict=True):
            Image.fromarray(image).save(folder / name, compress_level=1)
        with quiet_colmap():
            pycolmap.extract_features(
                database,
                folder,
                camera_mode=pycolmap.CameraMode.PER_IMAGE,
                extraction_options=options,
                device=pycolmap.Device.cpu,
            )
        with pycolmap.Database.open(database) as store:
            ids = {image.name: image.image_id for image in store.read_all_images()}
            return [
                _largest(store.read_keypoints(ids[name]), store.read_descriptors(ids[name]).data, max_features)
                for name in names
            ]


def _largest(keypoints: np.ndarray, descriptors: np.ndarray, max_features: int) -> SiftFeatures:
    """Features from COLMAP's key points: [N, 6], x, y and the affine shape a11 a12 a21 a22, or [N, 4], x, y, scale."""
    if len(keypoints) == 0:
        return SiftFeatures(np.zeros((0, 2), np.float32), np.zeros(0, np.float32), np.zeros((0, 128), np.uint8))
    if keypoints.shape[1] == 6:
        scale = np.sqrt(np.abs(keypoints[:, 2] * keypoints[:, 5] - keypoints[:, 3] * keypoints[:, 4]))
    else:
        scale = keypoints[:, 2]
    order = np.argsort(-scale, kind="stable")[:max_features]
    return SiftFeatures(
        keypoints[order, :2].astype(np.float32), scale[order].astype(np.float32), descriptors[order].astype(np.uint8)
    )
