"""The surface of a grid of signed distances as triangles, and what views say of its vertices."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from halonerf.errors import BadInput
from halonerf.splatting.compiled import compiled
from halonerf.types import View

LEAST_VIEWS = 3  # that must have seen a voxel, or a quarter of all: what one alone shows may hang in the air
SMALLEST = 0.002  # of all faces: smaller pieces are specks

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ExtractedSurface:
    """vertices: [N, 3], world frame. normals: [N, 3], unit, outwards. faces: [F, 3], counter-clockwise from outside."""

    vertices: Array
    normals: Array
    faces: NDArray[np.int64]

    def part(self, kept: NDArray[np.bool_]) -> tuple[ExtractedSurface, NDArray[np.int64]]:
        """Only the faces [F] that are kept, and the vertices that they use, whose places are returned besides."""
        used, faces = np.unique(self.faces[kept], return_inverse=True)
        return ExtractedSurface(self.vertices[used], self.normals[used], faces.reshape(-1, 3)), used


def extract(grid: FusionGrid, views: int) -> ExtractedSurface:
    """Marching cubes (Lewiner et al., 2003) where enough of the `views` that were fused looked.

    Raises: BadInput where there is no surface.
    """
    from skimage.measure import marching_cubes

    seen = grid.weight >= min(LEAST_VIEWS, max(1, views // 4))
    known = grid.distance[seen]
    if not (known < 0).any() or not (known > 0).any():
        raise BadInput(
            "expected views that agree on a surface, but the grid around the scene's points has none.\n"
            "Look at the pictures of: halonerf stage=render"
        )
    vertices, faces, _, _ = marching_cubes(grid.distance, 0.0, mask=seen)
    world = grid.origin + vertices.astype(np.float64) * grid.side
    return ExtractedSurface(world, _normals(world, faces), faces.astype(np.int64))


def seen_on(
    surface: ExtractedSurface,
    views: Iterable[View],
    look: Callable[[View], tuple[np.ndarray, np.ndarray]],
    side: float,
    width: int,
) -> tuple[Array, Array]:
    """What views show at the vertices: the mean, weighted by how squarely a view looks at the surface.

    Args:
        look: of a view, depth [H, W] (0: unknown) and numbers [H, W, C].
        side: world units, of a voxel: a vertex is seen where the depth is within some of it.
        width: C.
    Returns: [N, C], and the weight of what was seen, [N]; 0: by no view.
    """
    total, weight = np.zeros((len(surface.vertices), width)), np.zeros(len(surface.vertices))
    for view in views:
        depth, numbers = look(view)
        pose = view.world_to_camera.double().numpy()
        local = surface.vertices @ pose[:, :3].T + pose[:, 3]
        z = np.maximum(local[:, 2], 1e-9)
        column = np.floor(view.fx * local[:, 0] / z + view.cx)
        row = np.floor(view.fy * local[:, 1] / z + view.cy)
        framed = (local[:, 2] > 0) & (column >= 0) & (row >= 0) & (column < view.width) & (row < view.height)
        near = np.flatnonzero(framed)
        r, c = row[near].astype(int), column[near].astype(int)
        at = depth[r, c]
        sight = view.centre.double().numpy() - surface.vertices[near]
        facing = (sight * surface.normals[near]).sum(axis=1) / np.maximum(np.linalg.norm(sight, axis=1), 1e-12)
        good = (at > 0) & (np.abs(at - z[near]) < MARGIN * side) & (facing > 0.1)
        rows, share = near[good], facing[good]
        total[rows] += share[:, None] * numbers[r[good], c[good]]
        weight[rows] += share
    return total / np.maximum(weight, 1e-12)[:, None], weight


def large_pieces(surface: ExtractedSurface) -> NDArray[np.bool_]:
    """Which faces [F] belong to a connected piece that is more than a speck."""
    faces, vertices = surface.faces, len(surface.vertices)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    graph = coo_array((np.ones(len(edges), bool), edges.T), shape=(vertices, vertices))
    _, piece = connected_components(graph, directed=False)
    of_face = piece[faces[:, 0]]
    return np.bincount(of_face)[of_face] >= SMALLEST * len(faces)


def _normals(vertices: Array, faces: NDArray[np.int64]) -> Array:
    """Unit normals of vertices [N, 3]: the mean of their faces', by area."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    across = np.cross(b - a, c - a)
    total = np.zeros_like(vertices)
    for i in range(3):
        np.add.at(total, faces[:, i], across)
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)


MARGIN = 4  # voxels on either side of a surface in which the distance is kept
MARGIN_SHARE = 0.05  # of the longest side of the points' box, left on all sides
SPIRE = 0.25  # of the height, left above: what is slender has few points
BYTES = 24  # a voxel: distance, weight, and what the surface's extraction takes besides


@dataclass(frozen=True)
class FusionGrid:
    """Signed distances to the surface, outside positive, in voxels, [X, Y, Z] float32; weights: how many views saw it.

    origin: [3], world, the centre of the first voxel. side: world units, of a voxel.
    """

    distance: NDArray[np.float32]
    weight: NDArray[np.float32]
    origin: NDArray[np.float64]
    side: float


def empty_grid(points: np.ndarray, voxels: int, memory_mb: float) -> FusionGrid:
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
    return FusionGrid(np.zeros(shape, np.float32), np.zeros(shape, np.float32), low + 0.5 * side, side)


def fuse(grid: FusionGrid, views: Iterable[View], depth_of: Callable[[View], np.ndarray]) -> None:
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
