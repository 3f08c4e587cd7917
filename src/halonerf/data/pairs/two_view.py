"""Robust two-view estimation of a homography and of the epipolar geometry.

Hypotheses come from COLMAP's LO-RANSAC at several thresholds. They are scored and refined as in MAGSAC++ (Barath et
al., CVPR 2020): the noise is not known, so a match's weight is its likelihood averaged over all noise levels up to the
tolerance. Walls of different depth then need no different thresholds.
"""

from __future__ import annotations

import numpy as np
import pycolmap
from scipy.special import gamma, gammainc, gammaincc

THRESHOLD_SHARES = (0.15, 0.4, 1.0)  # of the tolerance: RANSAC's thresholds, small ones for planes, large for facades
MAX_TRIALS = 5_000  # samples of 4 or 7 matches; enough for a homography with four of five matches wrong
REWEIGHTING_STEPS = 8  # of least squares
CHI_QUANTILE = 3.64  # 0.99 quantile of the chi distribution of 4 degrees of freedom: tolerance over the largest noise


def robust_homography(
    points0: np.ndarray, points1: np.ndarray, tolerance: float, seed: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Homography [3, 3] of highest MAGSAC++ score, last entry 1, and its inliers, bool [M].

    Args:
        points0, points1: [M, 2], px.
        tolerance: largest transfer error of an inlier, px of photo 1.
    Returns: None where no homography is found.
    """
    if len(points0) < 4:
        return None
    best: tuple[float, np.ndarray] | None = None
    for share in THRESHOLD_SHARES:
        options = pycolmap.RANSACOptions()
        options.max_error, options.random_seed, options.max_num_trials = share * tolerance, seed, MAX_TRIALS
        found = pycolmap.estimate_homography_matrix(points0.astype(float), points1.astype(float), options)
        if found is None:
            continue
        matrix = np.asarray(found["H"], np.float64)
        for _ in range(REWEIGHTING_STEPS):
            score = _score(transfer_error(matrix, points0, points1), tolerance)
            if best is None or score > best[0]:
                best = score, matrix
            refined = _weighted_homography(
                points0, points1, _weight(transfer_error(matrix, points0, points1), tolerance)
            )
            if refined is None:
                break
            matrix = refined
    if best is None or abs(best[1][2, 2]) < 1e-12:
        return None
    matrix = best[1] / best[1][2, 2]
    return matrix, transfer_error(matrix, points0, points1) <= tolerance


def epipolar_inliers(points0: np.ndarray, points1: np.ndarray, ratio: float, tolerance: float, seed: int) -> np.ndarray:
    """Inliers of one fundamental matrix, bool [M]: matches that a rigid scene of any depth explains.

    Args:
        points0, points1: [M, 2], px.
        ratio: pixels of photo 0 per pixel of photo 1; both are compared at the scale of photo 1.
        tolerance: largest distance from the epipolar line, px of photo 1.
    """
    if len(points0) < 8:
        return np.zeros(len(points0), dtype=bool)
    options = pycolmap.RANSACOptions()
    options.max_error, options.random_seed, options.max_num_trials = tolerance, seed, MAX_TRIALS
    found = pycolmap.estimate_fundamental_matrix(points0.astype(float) / ratio, points1.astype(float), options)
    return np.zeros(len(points0), dtype=bool) if found is None else np.asarray(found["inlier_mask"], dtype=bool)


def transfer_error(homography: np.ndarray, points0: np.ndarray, points1: np.ndarray) -> np.ndarray:
    """Transfer error of each match, [M], px of photo 1; infinite beyond the horizon."""
    moved = np.column_stack([points0, np.ones(len(points0))]) @ homography.T
    front = moved[:, 2] * np.sign(np.median(moved[:, 2])) > 1e-12
    place = moved[:, :2] / np.where(front, moved[:, 2], 1.0)[:, None]
    return np.where(front, np.linalg.norm(place - points1, axis=1), np.inf)


def _weight(error: np.ndarray, tolerance: float) -> np.ndarray:
    """MAGSAC++'s weight of a residual, eq. 2 with n = 4, up to a factor: 1 at zero, 0 from the tolerance on."""
    scaled = (np.minimum(error, tolerance) / tolerance * CHI_QUANTILE) ** 2 / 2
    floor = gammaincc(1.5, CHI_QUANTILE**2 / 2)
    return (gammaincc(1.5, scaled) - floor) / (1.0 - floor)


def _score(error: np.ndarray, tolerance: float) -> float:
    """Score of a homography by its errors [M], px: one minus MAGSAC++'s loss (eq. 3) over its limit, summed."""
    scaled = (np.minimum(error, tolerance) / tolerance * CHI_QUANTILE) ** 2 / 2
    end = CHI_QUANTILE**2 / 2

    def loss(x: np.ndarray) -> np.ndarray:
        lower = gammainc(2.5, x) * gamma(2.5)
        return lower / 2 + x / 2 * (gammaincc(1.5, x) - gammaincc(1.5, end)) * gamma(1.5)

    return float((1.0 - loss(scaled) / loss(np.asarray(end))).sum())


def _weighted_homography(points0: np.ndarray, points1: np.ndarray, weight: np.ndarray) -> np.ndarray | None:
    """Weighted direct linear transform (Hartley and Zisserman 2004, algorithm 4.2); None where it is not determined."""
    used = weight > 1e-6
    if used.sum() < 4:
        return None
    p, q, w = points0[used], points1[used], weight[used]
    frame0, frame1 = _normaliser(p, w), _normaliser(q, w)
    a = np.column_stack([p, np.ones(len(p))]) @ frame0.T
    b = np.column_stack([q, np.ones(len(q))]) @ frame1.T
    none = np.zeros_like(a)
    rows = np.concatenate([np.hstack([a, none, -b[:, :1] * a]), np.hstack([none, a, -b[:, 1:2] * a])])
    rows *= np.sqrt(np.concatenate([w, w]))[:, None]
    values, vectors = np.linalg.eigh(rows.T @ rows)
    matrix = np.linalg.inv(frame1) @ vectors[:, 0].reshape(3, 3) @ frame0
    if values[1] <= 1e-12 * values[-1] or not np.isfinite(matrix).all() or abs(matrix[2, 2]) < 1e-12:
        return None
    return matrix / matrix[2, 2]


def _normaliser(points: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Similarity [3, 3] that takes the points to zero mean and a mean distance of the square root of two."""
    centre = (weight[:, None] * points).sum(axis=0) / weight.sum()
    size = float((weight * np.linalg.norm(points - centre, axis=1)).sum() / weight.sum())
    scale = np.sqrt(2.0) / max(size, 1e-9)
    return np.array([[scale, 0, -scale * centre[0]], [0, scale, -scale * centre[1]], [0, 0, 1]])
