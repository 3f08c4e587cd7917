"""How far a homography misses, learnt from matches: a smooth field that predicts the miss anywhere.

A Gaussian process (Rasmussen and Williams 2006, chapter 2) with a Matérn kernel of degree 3/2: it follows depth,
which bends but rarely jumps, and returns to zero, the homography alone, where no match is near. Scale and noise are
those that predict left-out matches best; if none does better than the homography, there is no correction.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist
from threadpoolctl import threadpool_limits

MOST = 300  # knots; a fit costs their cube
SCALES = (0.06, 0.12, 0.25, 0.5)  # of the matches' extent
NOISES = (0.01, 0.05, 0.25, 1.0)  # variance of a match, of that of the misses
RAYLEIGH = 1.1774  # median length of a vector of two normal coordinates of deviation 1
GAIN = 0.98  # left-out matches must be predicted so much better than by the homography


def fit_corrections(places: np.ndarray, misses: np.ndarray, nodes: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """The expected miss at `nodes` [K, 2], given the misses [M, 2] at places [M, 2], M >= 4.

    Args:
        places, nodes: px of one photo. misses: in any unit, which is that of the results.
    Returns: expected misses [K, 2], None where zero is as good; how wrong they may be, the standard deviation of a
        coordinate, [K].
    """
    places, misses = _knots(places, misses)
    extent = float(np.linalg.norm(places.max(axis=0) - places.min(axis=0)))
    size = np.linalg.norm(misses, axis=1)
    spread = float(np.median(size))
    flat = None, np.full(len(nodes), spread / RAYLEIGH)
    if len(places) < 4 or extent < 1e-9 or spread < 1e-9:
        return flat
    with threadpool_limits(1):  # matrices this small only wait for a second thread
        apart = cdist(places, places)
        scale, noise = _scale_and_noise(apart / extent, misses, np.minimum(size, 3.0 * spread).mean(), 3.0 * spread)
        if scale == 0.0:
            return flat
        kernel, weight = _matern(apart / (scale * extent)), np.ones(len(places))
        for _ in range(3):  # matches that the others contradict lose their weight (Cauchy)
            inverse = np.linalg.inv(kernel + np.diag(noise / weight))
            left_out = np.linalg.norm(inverse @ misses, axis=1) / np.diag(inverse)
            weight = 1.0 / (1.0 + (left_out / max(2.0 * float(np.median(left_out)), 1e-9)) ** 2)
        inverse = np.linalg.inv(kernel + np.diag(noise / weight))
        # the variance that makes the errors of left-out matches as large as foreseen
        foreseen = np.linalg.norm(inverse @ misses, axis=1) / np.sqrt(np.diag(inverse))
        deviation = float(np.median(foreseen)) / RAYLEIGH
        across = _matern(cdist(nodes, places) / (scale * extent))
        unknown = 1.0 - np.einsum("ki,ki->k", across @ inverse, across)
        return across @ (inverse @ misses), deviation * np.sqrt(np.maximum(unknown, 0.0))


def _scale_and_noise(apart: np.ndarray, misses: np.ndarray, error: float, limit: float) -> tuple[float, float]:
    """Those of the table that predict left-out matches best; zeros where none is better than `error`, of no correction.

    Args:
        apart: [M, M], in extents. limit: an error beyond which a wild match counts no more.
    """
    best = (GAIN * error, 0.0, 0.0)
    for scale in SCALES:
        values, vectors = np.linalg.eigh(_matern(apart / scale))
        turned = vectors.T @ misses
        for noise in NOISES:
            share = 1.0 / (np.maximum(values, 0) + noise)
            left_out = (vectors @ (share[:, None] * turned)) / ((vectors**2) @ share)[:, None]
            best = min(best, (float(np.minimum(np.linalg.norm(left_out, axis=1), limit).mean()), scale, noise))
    return best[1], best[2]


def _matern(distance: np.ndarray) -> np.ndarray:
    """Matérn 3/2 of unit variance (Rasmussen and Williams, eq. 4.17)."""
    scaled = np.sqrt(3.0) * distance
    return (1.0 + scaled) * np.exp(-scaled)


def _knots(places: np.ndarray, misses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One match a cell of a grid, the median of those in it: near-duplicates would make leaving one out meaningless."""
    low = places.min(axis=0)
    cell = max(float(np.linalg.norm(places.max(axis=0) - low)) / 64, 1e-9)
    while True:
        index = np.floor((places - low) / cell).astype(np.int64)
        _, group = np.unique(index, axis=0, return_inverse=True)
        if group.max() < MOST:
            break
        cell *= 1.2
    order = np.argsort(group.ravel(), kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(group.ravel()[order])) + 1)
    return np.stack([np.median(places[p], axis=0) for p in parts]), np.stack(
        [np.median(misses[p], axis=0) for p in parts]
    )
