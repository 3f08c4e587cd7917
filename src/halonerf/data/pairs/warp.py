"""Dense warps from a close-up to a farther photo, fitted to their matches.

A homography is exact for one plane. Buildings are not flat, so the kind "local" adds a smooth field of corrections,
interpolated from the matches' residuals by a Gaussian process, which fades where there are none.
`photo0` is the close-up, `photo1` the farther one, as in `halonerf.data.pairs.zoom`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial import ConvexHull
from scipy.spatial.distance import cdist
from threadpoolctl import threadpool_limits
from torch import Tensor

from halonerf.data.pairs.zoom import scale_ratio
from halonerf.errors import BadInput

KINDS = ("homography", "local")
GRID_NODES = 65  # per side of the grid of corrections; their shortest length scale spans several of its cells
MAX_SAMPLES = 2_000_000  # read at once from the maps, which bounds memory
MAX_STRETCH = 8.0  # ratio of a pixel's footprint with corrections to that by the homography, or its inverse
INVERSE_ITERATIONS = 20  # corrections vary slowly, so that each iteration reduces the error several times


@dataclass(frozen=True)
class Warp:
    """A warp between a close-up and a farther photo, stored as the backward map from the farther photo's pixels.

    homography: [3, 3], close-up to farther photo, with positive third coordinate inside the close-up.
    size0, size1: (width, height), px. hull: [F, 3], lines (unit normal outwards, offset) around the matches, px of the
    close-up. reach: px of the close-up beyond that hull up to which the warp is used.
    frame: (left, top, right, bottom), px of the farther photo, of the grid of corrections.
    corrections: [2, GRID_NODES, GRID_NODES], px of the close-up, added to the inverse homography; None: none.
    uncertain: bool [GRID_NODES, GRID_NODES], where corrections are too uncertain to be used; None: nowhere.
    """

    homography: np.ndarray
    size0: tuple[int, int]
    size1: tuple[int, int]
    hull: np.ndarray
    reach: float
    frame: tuple[float, float, float, float]
    corrections: Tensor | None = None
    uncertain: Tensor | None = None

    def carry(self, maps: Tensor, size: tuple[int, int] | None = None) -> tuple[Tensor, Tensor]:
        """Maps of the close-up warped into the farther photo.

        Each pixel is the mean over its footprint in the close-up, sampled at least as densely as the maps' pixels.

        Args:
            maps: [C, h0, w0], of the whole close-up at any resolution; NaN is kept.
            size: (width, height) of the result, px; default the farther photo's.
        Returns: [C, H1, W1] float, 0 outside the region; the region, bool [H1, W1]: pixels whose whole footprint lies
            inside the close-up and within reach of matches.
        """
        if maps.ndim != 3 or 0 in maps.shape:
            raise BadInput(f"expected maps [channels, height, width] of the close-up, got {list(maps.shape)}")
        width, height = size or self.size1
        values = maps if maps.is_floating_point() else maps.float()
        out = values.new_zeros(len(maps), height, width)
        region = torch.zeros(height, width, dtype=torch.bool, device=maps.device)
        scale = (width / self.size1[0], height / self.size1[1])
        left, top = (max(0, math.floor(self.frame[k] * scale[k])) for k in (0, 1))
        right, bottom = (min(limit, math.ceil(self.frame[k + 2] * scale[k])) for k, limit in ((0, width), (1, height)))
        if right <= left or bottom <= top:
            return out, region
        corners = _lattice(left, top, right - left + 1, bottom - top + 1, 1, 0.0, scale, maps.device)
        place, area = self._backward(corners)
        covered, finer = self._covered(place, area, maps.shape[2] / self.size0[0], maps.shape[1] / self.size0[1])
        covered &= self._certain(corners[:-1, :-1])
        region[top:bottom, left:right] = covered
        if not covered.any():
            return out, region
        rows, columns = torch.nonzero(covered.any(dim=1))[:, 0], torch.nonzero(covered.any(dim=0))[:, 0]
        first, last = top + int(rows[0]), top + int(rows[-1]) + 1
        start, stop = left + int(columns[0]), left + int(columns[-1]) + 1
        together = max(1, MAX_SAMPLES // ((stop - start) * finer**2))
        extent = torch.tensor(self.size0, dtype=torch.float64, device=maps.device)
        for row in range(first, last, together):
            count = min(together, last - row)
            points = _lattice(start, row, (stop - start) * finer, count * finer, finer, 0.5, scale, maps.device)
            grid = (self._backward(points)[0] / extent * 2 - 1).to(values.dtype)
            read = F.grid_sample(values[None], grid[None], padding_mode="border", align_corners=False)
            out[:, row : row + count, start:stop] = F.avg_pool2d(read, finer)[0]
        return torch.where(region, out, 0), region

    def positions(self, points: np.ndarray) -> np.ndarray:
        """Positions in the farther photo of points of the close-up, [N, 2] px each; NaN where they are not covered."""
        near = torch.as_tensor(np.asarray(points, np.float64).reshape(-1, 2))
        far = _project(near, self.homography)
        for _ in range(INVERSE_ITERATIONS if self.corrections is not None else 0):
            far = _project(near - self._correct(far), self.homography)
        back, _ = self._backward(far)
        limit = torch.tensor(self.size0, dtype=torch.float64), torch.tensor(self.size1, dtype=torch.float64)
        good = (near >= 0).all(1) & (near <= limit[0]).all(1) & (far >= 0).all(1) & (far <= limit[1]).all(1)
        good &= self._within_reach(near) & ((back - near).norm(dim=1) < 1.0)  # no inverse where the corrections fold
        good &= self._certain(far)
        return torch.where(good[:, None], far, torch.nan).numpy()

    def _backward(self, far: Tensor) -> tuple[Tensor, Tensor]:
        """Positions in the close-up of positions [..., 2] in the farther photo: with corrections, and by the homography
        only; NaN beyond its horizon.
        """
        flat = _project(far, np.linalg.inv(self.homography))
        return (flat if self.corrections is None else flat + self._correct(far)), flat

    def _correct(self, far: Tensor) -> Tensor:
        assert self.corrections is not None
        return self._read(self.corrections, far)

    def _certain(self, far: Tensor) -> Tensor:
        """Whether corrections are certain enough at positions [..., 2] of the farther photo, bool [...]."""
        if self.uncertain is None:
            return torch.ones(far.shape[:-1], dtype=torch.bool, device=far.device)
        return self._read(self.uncertain[None].to(far), far)[..., 0] < 0.5

    def _read(self, nodes: Tensor, far: Tensor) -> Tensor:
        """Values [..., C] of grid nodes [C, GRID_NODES, GRID_NODES] interpolated at positions [..., 2]."""
        left, top, right, bottom = self.frame
        low, span = far.new_tensor([left, top]), far.new_tensor([right - left, bottom - top])
        grid = ((far - low) / span * 2 - 1).reshape(1, -1, 1, 2).nan_to_num(0.0)
        read = F.grid_sample(nodes.to(far)[None], grid, padding_mode="border", align_corners=True)
        return read[0, :, :, 0].T.reshape(*far.shape[:-1], len(nodes))

    def _covered(self, place: Tensor, flat: Tensor, sx: float, sy: float) -> tuple[Tensor, int]:
        """Pixels that are covered, bool [h, w], by their corners in the close-up [h + 1, w + 1, 2]; and the factor
        per side by which the maps are sampled more finely (`sx`, `sy`: pixels of the maps per pixel of the close-up).
        """
        limit = place.new_tensor(self.size0)
        good = (place >= 0).all(-1) & (place <= limit).all(-1) & self._within_reach(place)
        whole = good[:-1, :-1] & good[:-1, 1:] & good[1:, :-1] & good[1:, 1:]
        corrected, flat_area = _areas(place), _areas(flat)
        whole &= (
            (corrected * flat_area > 0)
            & (corrected.abs() < MAX_STRETCH * flat_area.abs())
            & (corrected.abs() * MAX_STRETCH > flat_area.abs())
        )
        if not whole.any():
            return whole, 1
        across = ((place[:-1, 1:] - place[:-1, :-1]) * place.new_tensor([sx, sy])).norm(dim=-1)[whole]
        down = ((place[1:, :-1] - place[:-1, :-1]) * place.new_tensor([sx, sy])).norm(dim=-1)[whole]
        footprint = torch.maximum(across, down).cpu().numpy()
        finest = float(np.quantile(footprint, 0.98))  # a few may be stretched wildly
        return whole, max(2, math.ceil(finest))

    def _within_reach(self, near: Tensor) -> Tensor:
        lines = near.new_tensor(self.hull)
        return (near @ lines[:, :2].T + lines[:, 2]).amax(dim=-1) <= self.reach


def fit_warp(
    points0: np.ndarray,
    points1: np.ndarray,
    size0: tuple[int, int],
    size1: tuple[int, int],
    homography: np.ndarray,
    kind: str = "local",
    reach: float = 0.1,
    trust: float = 0.004,
) -> Warp:
    """Warp fitted to the matches of a verified zoom pair.

    Args:
        points0, points1: [M, 2], px; correct matches only, M >= 1: the homography's (`inlier` of the stage `mine`),
            or better, for "local", those of one rigid scene (`rigid`). size0, size1: (width, height), px.
        homography: [3, 3], close-up to farther photo, px.
        kind: "homography", or "local": with corrections where these predict left-out matches better.
        reach: share of the close-up's long side beyond the matches' hull up to which the warp is used.
        trust: largest predicted standard deviation of a correction, share of the farther photo's long side; where it is
            larger, "local" covers nothing.

    Raises: BadInput for another kind, no matches, or a homography that maps them to infinity.
    """
    if kind not in KINDS:
        raise BadInput(f"expected a warp of kind {' or '.join(KINDS)}, got '{kind}'")
    near, far = (np.asarray(p, np.float64).reshape(-1, 2) for p in (points0, points1))
    if len(near) == 0 or near.shape != far.shape:
        raise BadInput(f"expected as many points in either photo, at least one, got {len(near)} and {len(far)}")
    matrix = np.asarray(homography, np.float64).reshape(3, 3)
    side = np.column_stack([near, np.ones(len(near))]) @ matrix[2]
    matrix = matrix * np.sign(np.median(side))
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-15 or np.median(side) == 0:
        raise BadInput(f"expected an invertible homography that keeps the matches finite, got {homography}")
    around = (near[:, None] + np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])).reshape(-1, 2)
    hull = ConvexHull(around).equations  # of pixels, not points, so that a single match has a hull
    warp = Warp(matrix, size0, size1, hull, reach * max(size0), (0.0, 0.0, 0.0, 0.0))
    residual = near - _project(torch.from_numpy(far), np.linalg.inv(matrix)).numpy()
    kept = np.isfinite(residual).all(axis=1)
    frame = _frame(warp, far[kept])
    corrections = uncertain = None
    if kind == "local" and kept.sum() >= 4 and frame[2] > frame[0] and frame[3] > frame[1]:
        x, y = np.linspace(frame[0], frame[2], GRID_NODES), np.linspace(frame[1], frame[3], GRID_NODES)
        nodes = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        corrected, deviation = fit_corrections(far[kept], residual[kept], nodes)
        corrections = (
            None if corrected is None else torch.from_numpy(corrected.T.reshape(2, GRID_NODES, GRID_NODES).copy())
        )
        limit = trust * max(size1) * scale_ratio(near, far)
        uncertain = torch.from_numpy((deviation > limit).reshape(GRID_NODES, GRID_NODES))
    return Warp(matrix, size0, size1, hull, warp.reach, frame, corrections, uncertain)


def _frame(warp: Warp, far: np.ndarray) -> tuple[float, float, float, float]:
    """Bounding box, px, in the farther photo of the close-up's outline and the matches, enlarged by a tenth."""
    x, y = np.meshgrid(np.linspace(0, warp.size0[0], 33), np.linspace(0, warp.size0[1], 33))
    near = torch.from_numpy(np.column_stack([x.ravel(), y.ravel()]))
    carried = _project(near[warp._within_reach(near)], warp.homography).numpy()
    points = np.concatenate([carried[np.isfinite(carried).all(axis=1)], far])
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.1 * (high - low) + 2.0
    low, high = np.maximum(low - margin, 0), np.minimum(high + margin, warp.size1)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _project(points: Tensor, homography: np.ndarray) -> Tensor:
    """Points [..., 2] mapped by a homography [3, 3]; NaN at and beyond its horizon."""
    matrix = torch.as_tensor(homography, dtype=points.dtype, device=points.device)
    moved = points @ matrix[:, :2].T + matrix[:, 2]
    return torch.where(moved[..., 2:] > 1e-12, moved[..., :2] / moved[..., 2:], torch.nan)


def _lattice(
    left: int,
    top: int,
    columns: int,
    rows: int,
    finer: int,
    shift: float,
    scale: tuple[float, float],
    device: torch.device,
) -> Tensor:
    """Positions [rows, columns, 2] in the farther photo, px: from pixel (left, top) on, in steps of 1 / `finer` pixels
    of the result, which has `scale` pixels per pixel of the photo. shift: of a step; 0 gives corners, 0.5 centres.
    """
    x = (left + (torch.arange(columns, dtype=torch.float64, device=device) + shift) / finer) / scale[0]
    y = (top + (torch.arange(rows, dtype=torch.float64, device=device) + shift) / finer) / scale[1]
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def _areas(corners: Tensor) -> Tensor:
    """Signed areas [h, w] of the quadrilaterals of a lattice [h + 1, w + 1, 2]."""
    one, two = corners[1:, 1:] - corners[:-1, :-1], corners[1:, :-1] - corners[:-1, 1:]
    return 0.5 * (one[..., 0] * two[..., 1] - one[..., 1] * two[..., 0])


MAX_KNOTS = 300  # the cost of a fit grows with their cube
LENGTH_SCALES = (0.06, 0.12, 0.25, 0.5)  # shares of the matches' extent
NOISES = (0.01, 0.05, 0.25, 1.0)  # variance of a match over that of the residuals
RAYLEIGH_MEDIAN = 1.1774  # median length of a vector of two standard normal coordinates
MAX_ERROR_RATIO = 0.98  # of left-out matches, with corrections over by the homography; above, none are used


def fit_corrections(
    positions: np.ndarray, residuals: np.ndarray, nodes: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray]:
    """Residuals interpolated at `nodes` by a Gaussian process, from residuals at other positions.

    Args:
        positions: [M, 2], px of one photo, M >= 4. residuals: [M, 2], of any unit, which is that of the results.
        nodes: [K, 2], px of the same photo.
    Returns: expected residuals [K, 2], None where zero predicts left-out ones as well; predicted standard deviation of
        a coordinate, [K].
    """
    positions, residuals = _knots(positions, residuals)
    extent = float(np.linalg.norm(positions.max(axis=0) - positions.min(axis=0)))
    size = np.linalg.norm(residuals, axis=1)
    spread = float(np.median(size))
    flat = None, np.full(len(nodes), spread / RAYLEIGH_MEDIAN)
    if len(positions) < 4 or extent < 1e-9 or spread < 1e-9:
        return flat
    with threadpool_limits(1):  # small matrices gain nothing from threads
        distances = cdist(positions, positions)
        scale, noise = _scale_and_noise(
            distances / extent, residuals, np.minimum(size, 3.0 * spread).mean(), 3.0 * spread
        )
        if scale == 0.0:
            return flat
        kernel, weight = _matern(distances / (scale * extent)), np.ones(len(positions))
        for _ in range(3):  # down-weights matches that the others contradict (Cauchy)
            inverse = np.linalg.inv(kernel + np.diag(noise / weight))
            left_out = np.linalg.norm(inverse @ residuals, axis=1) / np.diag(inverse)
            weight = 1.0 / (1.0 + (left_out / max(2.0 * float(np.median(left_out)), 1e-9)) ** 2)
        inverse = np.linalg.inv(kernel + np.diag(noise / weight))
        # the variance at which errors of left-out matches are as large as predicted
        predicted = np.linalg.norm(inverse @ residuals, axis=1) / np.sqrt(np.diag(inverse))
        deviation = float(np.median(predicted)) / RAYLEIGH_MEDIAN
        across = _matern(cdist(nodes, positions) / (scale * extent))
        unknown = 1.0 - np.einsum("ki,ki->k", across @ inverse, across)
        return across @ (inverse @ residuals), deviation * np.sqrt(np.maximum(unknown, 0.0))


def _scale_and_noise(distances: np.ndarray, residuals: np.ndarray, error: float, limit: float) -> tuple[float, float]:
    """Length scale and noise that predict left-out matches best; zeros where none is better than no correction.

    Args:
        distances: [M, M], shares of the extent. residuals: [M, 2].
        error: mean error without correction. limit: at which a match's error is clipped.
    """
    best = (MAX_ERROR_RATIO * error, 0.0, 0.0)
    for scale in LENGTH_SCALES:
        values, vectors = np.linalg.eigh(_matern(distances / scale))
        rotated = vectors.T @ residuals
        for noise in NOISES:
            share = 1.0 / (np.maximum(values, 0) + noise)
            left_out = (vectors @ (share[:, None] * rotated)) / ((vectors**2) @ share)[:, None]
            best = min(best, (float(np.minimum(np.linalg.norm(left_out, axis=1), limit).mean()), scale, noise))
    return best[1], best[2]


def _matern(distance: np.ndarray) -> np.ndarray:
    """Matérn 3/2 covariance of unit variance (Rasmussen and Williams, eq. 4.17), of the distances' shape."""
    scaled = np.sqrt(3.0) * distance
    return (1.0 + scaled) * np.exp(-scaled)


def _knots(positions: np.ndarray, residuals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median position and residual per cell of a grid; near-duplicates would make leave-one-out errors meaningless."""
    low = positions.min(axis=0)
    cell = max(float(np.linalg.norm(positions.max(axis=0) - low)) / 64, 1e-9)
    while True:
        index = np.floor((positions - low) / cell).astype(np.int64)
        _, group = np.unique(index, axis=0, return_inverse=True)
        if group.max() < MAX_KNOTS:
            break
        cell *= 1.2
    order = np.argsort(group.ravel(), kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(group.ravel()[order])) + 1)
    return np.stack([np.median(positions[p], axis=0) for p in parts]), np.stack(
        [np.median(residuals[p], axis=0) for p in parts]
    )
