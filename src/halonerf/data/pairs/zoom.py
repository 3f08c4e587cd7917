"""Verification of zoom pairs: a close-up and a farther photo of the same place.

`photo0` is the close-up, `photo1` the farther one; a homography takes pixels of the close-up to the farther photo.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from halonerf.data.pairs.two_view import epipolar_inliers, robust_homography


@dataclass(frozen=True)
class ZoomPair:
    """Geometry of a verified zoom pair.

    ratio: pixels of the close-up per pixel of the farther photo, > 1.
    homography: [3, 3], close-up to farther photo, pixels, last entry 1.
    rigid: bool [M], matches that one rigid scene of any depth explains. inliers: bool [M], those of them that the
    homography explains, too. coverage: share of the close-up inside the hull of its inliers.
    inside: share of the close-up, carried over, that lies inside the farther photo.
    """

    ratio: float
    homography: np.ndarray
    rigid: np.ndarray
    inliers: np.ndarray
    coverage: float
    inside: float

    @property
    def quality(self) -> float:
        """Share of inliers x coverage x share inside, in [0, 1]: three independent failures."""
        return float(self.inliers.mean() * self.coverage * self.inside)


def scale_ratio(points0: np.ndarray, points1: np.ndarray) -> float:
    """Median over pairs of matches, [M, 2] px each, of their distance in photo 0 over that in photo 1.

    The median is robust to wrong matches and depth.
    """
    if len(points0) < 2:
        return 1.0
    step = max(1, len(points0) // 200)  # 200 points give 19,900 distances: enough for a median
    a, b = points0[::step], points1[::step]
    i, j = np.triu_indices(len(a), k=1)
    d0, d1 = np.linalg.norm(a[i] - a[j], axis=1), np.linalg.norm(b[i] - b[j], axis=1)
    apart = d1 > 1e-6
    return float(np.median(d0[apart] / d1[apart])) if apart.any() else 1.0


def verify_zoom(
    points0: np.ndarray,
    points1: np.ndarray,
    size0: tuple[int, int],
    size1: tuple[int, int],
    min_ratio: float,
    min_inliers: int,
    tolerance: float,
    epipolar: float,
    seed: int,
) -> ZoomPair | None:
    """Zoom pair of a ratio of at least `min_ratio`, or None where the matches do not confirm it.

    Args:
        points0, points1: [M, 2], px. size0, size1: (width, height), px.
        min_inliers: matches that the homography and one rigid scene must explain.
        tolerance: largest transfer error of the homography, px of the farther photo; buildings are not flat.
        epipolar: largest distance from the epipolar line, px of the farther photo; independent of depth.
        seed: of RANSAC.
    """
    if len(points0) < max(min_inliers, 8):
        return None
    found = robust_homography(points0, points1, tolerance, seed)
    if found is None or found[1].sum() < max(min_inliers, 2):
        return None
    homography, near_plane = found
    rigid = epipolar_inliers(points0, points1, scale_ratio(points0[near_plane], points1[near_plane]), epipolar, seed)
    inliers = near_plane & rigid
    if inliers.sum() < min_inliers:
        return None
    ratio = scale_ratio(points0[rigid], points1[rigid])
    outline = carry(projected_outline(*size0), homography)
    if ratio < min_ratio or outline is None or not _plausible(outline, size0, ratio):
        return None
    coverage = _coverage(points0[inliers], size0)
    return ZoomPair(ratio, homography, rigid, inliers, coverage, _share_inside(homography, size0, size1))


def projected_outline(width: int, height: int) -> np.ndarray:
    """Corners of a photo, [4, 2] px, clockwise from the top left."""
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float64)


def carry(points: np.ndarray, homography: np.ndarray) -> np.ndarray | None:
    """Points [N, 2] mapped by a homography [3, 3]; None where one of them lies at or beyond the horizon."""
    moved = np.column_stack([points, np.ones(len(points))]) @ homography.T
    if (moved[:, 2] <= 1e-9).any():
        return None
    return moved[:, :2] / moved[:, 2:]


def _plausible(outline: np.ndarray, size0: tuple[int, int], ratio: float) -> bool:
    """Whether the outline [4, 2] is convex, not mirrored, and of the area that `ratio` implies up to a factor of 4."""
    edges = np.roll(outline, -1, axis=0) - outline
    following = np.roll(edges, -1, axis=0)
    turns = edges[:, 0] * following[:, 1] - edges[:, 1] * following[:, 0]
    if (turns <= 0).any():
        return False
    x, y = outline.T
    area = 0.5 * abs(x @ np.roll(y, -1) - y @ np.roll(x, -1))
    expected = size0[0] * size0[1] / ratio**2
    return bool(0.25 < area / expected < 4.0)


def _coverage(points: np.ndarray, size: tuple[int, int]) -> float:
    try:
        return min(1.0, float(ConvexHull(points).volume) / (size[0] * size[1]))
    except QhullError:  # all on one line
        return 0.0


def _share_inside(homography: np.ndarray, size0: tuple[int, int], size1: tuple[int, int]) -> float:
    x, y = np.meshgrid(np.linspace(0, size0[0], 33), np.linspace(0, size0[1], 33))
    grid = carry(np.column_stack([x.ravel(), y.ravel()]), homography)
    if grid is None:
        return 0.0
    return float(((grid >= 0).all(axis=1) & (grid <= size1).all(axis=1)).mean())
