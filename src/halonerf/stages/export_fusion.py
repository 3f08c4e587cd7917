"""One surface from the depths of many views: a truncated signed distance on a grid (Curless and Levoy, 1996)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from halonerf.errors import BadInput
from halonerf.splatting.compiled import compiled
from halonerf.types import View

MARGIN = 4  # voxels on either side of a surface in which the distance is kept
MARGIN_SHARE = 0.05  # of the longest side of the points' box, left on all sides
SPIRE = 0.25  # of the height, left above: what is slender has few points
BYTES = 24  # a voxel: distance, weight, and what the surface's extraction takes besides


@dataclass(frozen=True)
class Grid:
    """Signed distances to the surface, outside positive, in voxels, [X, Y, Z] float32; weights: how many views saw it.

    origin: [3], world, the centre of the first voxel. side: world units, of a voxel.
    """

    distance: NDArray[np.float32]
    weight: NDArray[np.float32]
    origin: NDArray[np.float64]
    side: float


def empty_grid(points: np.ndarray, voxels: int, memory_mb: float) -> Grid:
    """A grid around points [N, 3] (+z up) but for the outermost hundredth, with `voxels` along its longest side.

    Raises: BadInput where the grid and what is made of it do not fit into `memory_mb`.
    """
    low, high = np.quantile(points, [0.005, 0.995], axis=0)
    room = MARGIN_SHARE * (high - low).max()
    low, high = low - room, high + room + np.array([0.0, 0.0, SPIRE * (high - low)[2]])
    side = float((high - low).max()) / voxels
    shape = tuple(int(n) for n in np.maximum(np.ceil((high - low) / side), 2))
    needed = float(np.prod(shape)) * BYTES * 1e-6
    if needed > memory_mb:
        raise BadInput(
            f"expected a grid that takes at most {memory_mb:g} MB, got one of {' x '.join(map(str, shape))} voxels, "
            f"which takes {needed:.0f} MB.\nTake a coarser one, or allow it: export.voxels=… export.memory_mb=…"
        )
    return Grid(np.zeros(shape, np.float32), np.zeros(shape, np.float32), low + 0.5 * side, side)


def fuse(grid: Grid, views: Iterable[View], depth_of: Callable[[View], np.ndarray]) -> None:
    """Add views to the grid, one at a time; depth_of: [H, W] world units along the optical axis, 0: unknown."""
    for view in views:
        pose = view.world_to_camera.double().numpy()
        start = pose[:, :3] @ grid.origin + pose[:, 3]
        step = pose[:, :3] * grid.side  # camera coordinates a voxel further along x, y, z
        depth = np.ascontiguousarray(depth_of(view), np.float32)
        lens = np.array([view.fx, view.fy, view.cx, view.cy])
        _integrate(grid.distance, grid.weight, start, step, lens, depth, grid.side, float(MARGIN))


@compiled(parallel=True)
def _integrate(distance, weight, start, step, lens, depth, side, margin):  # type: ignore[no-untyped-def]
    """A voxel's distance is that of the surface on its pixel's ray, along the optical axis; the mean over views."""
    height, width = depth.shape
    for i in numba.prange(distance.shape[0]):
        for j in range(distance.shape[1]):
            for k in range(distance.shape[2]):
                z = start[2] + i * step[2, 0] + j * step[2, 1] + k * step[2, 2]
                if z <= 0:
                    continue
                x = start[0] + i * step[0, 0] + j * step[0, 1] + k * step[0, 2]
                y = start[1] + i * step[1, 0] + j * step[1, 1] + k * step[1, 2]
                column = int(np.floor(lens[0] * x / z + lens[2]))
                row = int(np.floor(lens[1] * y / z + lens[3]))
                if column < 0 or row < 0 or column >= width or row >= height:
                    continue
                surface = depth[row, column]
                if surface <= 0:
                    continue
                signed = (surface - z) / side
                if signed < -margin:
                    continue  # behind the surface: nobody knows
                signed = min(signed, margin)
                before = weight[i, j, k]
                distance[i, j, k] = (distance[i, j, k] * before + signed) / (before + 1)
                weight[i, j, k] = before + 1
