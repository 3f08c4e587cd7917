"""Which features of two photos are the same, and whether one rigid scene can explain them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pycolmap
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from halonerf.data.sfm.features import Features


@dataclass(frozen=True)
class VerifiedPair:
    """Two photos (indices) with `inliers` [M, 2], feature indices in each, that one two-view geometry explains."""

    first: int
    second: int
    tentative: int  # matches before verification
    config: int  # pycolmap.TwoViewGeometryConfiguration
    matrices: np.ndarray  # E, F, H; [3, 3, 3], zeros where not estimated
    inliers: np.ndarray


def match_descriptors(
    first: Tensor, second: Tensor, max_ratio: float = 0.8, max_angle: float = 0.7
) -> tuple[Tensor, Tensor]:
    """Mutual nearest neighbours that beat the runner-up (Lowe 2004, section 7.1), by the angle between descriptors.

    Args:
        first, second: [N, D], [M, D], unit length.
        max_ratio: largest angle to the nearest over angle to the second nearest, tested both ways.
        max_angle: radians.
    Returns: indices [K, 2], cosine [K].
    """
    if len(first) < 2 or len(second) < 2:
        return torch.zeros(0, 2, dtype=torch.long), torch.zeros(0)
    cosine = torch.from_numpy(first.numpy() @ second.numpy().T)  # NumPy's BLAS: half the time of torch's on AMD
    best, best_back = cosine.amax(dim=1), cosine.amax(dim=0)
    rows = torch.nonzero(best >= math.cos(max_angle))[:, 0]
    columns = cosine[rows].argmax(dim=1)
    mutual = best[rows] == best_back[columns]
    rows, columns = rows[mutual], columns[mutual]
    found = best[rows].clamp(max=1)
    cosine[rows, columns] = -1
    runner_up = torch.maximum(cosine.amax(dim=1)[rows], cosine.amax(dim=0)[columns]).clamp(-1, 1)
    good = torch.arccos(found) < max_ratio * torch.arccos(runner_up)
    return torch.stack([rows[good], columns[good]], dim=1), found[good]


@contextmanager
def single_threaded() -> Iterator[None]:
    """One thread a product, so that pairs can be matched side by side: small products gain nothing from threads,
    which wait for each other in busy loops.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def unit_descriptors(features: Features) -> Tensor:
    """RootSIFT as float32 [N, 128] of unit length."""
    values = torch.from_numpy(features.descriptors.astype(np.float32))
    return values / values.norm(dim=1, keepdim=True).clamp(min=1e-9)


def verify_pair(
    first: int,
    second: int,
    features: tuple[Features, Features],
    cameras: tuple[pycolmap.Camera, pycolmap.Camera],
    matches: np.ndarray,
    min_inliers: int,
    seed: int,
) -> VerifiedPair | None:
    """Estimate the two-view geometry of `matches` [K, 2]; None where it explains fewer than `min_inliers`."""
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
