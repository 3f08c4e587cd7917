"""Two-view geometry of a pair's matches by COLMAP, and what matching pairs in parallel needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pycolmap
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from halonerf.sift import SiftFeatures


@dataclass(frozen=True)
class VerifiedPair:
    """Two photos (indices) with `inliers` [M, 2], feature indices in each, that one two-view geometry explains."""

    first: int
    second: int
    tentative: int  # matches before verification
    config: int  # pycolmap.TwoViewGeometryConfiguration
    matrices: np.ndarray  # E, F, H; [3, 3, 3], zeros where not estimated
    inliers: np.ndarray


@contextmanager
def single_threaded() -> Iterator[None]:
    """Limit matrix products to one thread each, so that pairs can be matched in parallel.

    Small products gain nothing from threads, which wait for each other in busy loops.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def unit_descriptors(features: SiftFeatures) -> Tensor:
    """RootSIFT descriptors as float32 [N, 128] of unit length."""
    values = torch.from_numpy(features.descriptors.astype(np.float32))
    return values / values.norm(dim=1, keepdim=True).clamp(min=1e-9)


def verify_pair(
    first: int,
    second: int,
    features: tuple[SiftFeatures, SiftFeatures],
    cameras: tuple[pycolmap.Camera, pycolmap.Camera],
    matches: np.ndarray,
    min_inliers: int,
    seed: int,
) -> VerifiedPair | None:
    """Two-view geometry of a pair's matches; None where it is degenerate or explains fewer than `min_inliers`.

    Args:
        first, second: the photos' indices, for the result.
        features, cameras: of either photo, in the same pixels.
        matches: [K, 2], feature indices in either photo.
        seed: of RANSAC.
    """
    if len(matches) < min_inliers:
        return None
    options = pycolmap.TwoViewGeometryOptions()
    options.min_num_inliers = min_inliers
    options.ransac.random_seed = seed
    geometry = pycolmap.estimate_two_view_geometry(
        cameras[0],
        features[0].points.astype(np.float64),
        cameras[1],
        features[1].points.astype(np.float64),
        matches.astype(np.uint32),
        options,
    )
    useless = {
        pycolmap.TwoViewGeometryConfiguration.UNDEFINED,
        pycolmap.TwoViewGeometryConfiguration.DEGENERATE,
        pycolmap.TwoViewGeometryConfiguration.WATERMARK,
    }
    inliers = np.asarray(geometry.inlier_matches, dtype=np.uint32).reshape(-1, 2)
    if len(inliers) < min_inliers or pycolmap.TwoViewGeometryConfiguration(geometry.config) in useless:
        return None
    matrices = np.stack(
        [np.zeros((3, 3)) if m is None else np.asarray(m) for m in (geometry.E, geometry.F, geometry.H)]
    )
    return VerifiedPair(first, second, len(matches), int(geometry.config), matrices, inliers)
