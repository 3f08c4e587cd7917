"""Surface reconstruction: fusion of depth maps into signed distances, marching cubes, and values at the vertices."""

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

MIN_VIEWS = 3  # that must have observed a voxel, or a quarter of all: what one alone shows may be a floater
MIN_PIECE_SHARE = 0.002  # of all faces: smaller connected pieces are noise
MIN_COSINE = 0.1  # between normal and direction of view, for a view to count at a vertex

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ExtractedSurface:
    """A triangle mesh.

    vertices: [N, 3], world frame. normals: [N, 3], unit, outwards. faces: [F, 3], counter-clockwise from outside.
    """

    vertices: Array
    normals: Array
    faces: NDArray[np.int64]

    def part(self, kept: NDArray[np.bool_]) -> tuple[ExtractedSurface, NDArray[np.int64]]:
        """The faces that are kept, bool [F], with the vertices that they use, and the rows of these in `vertices`."""
        used, faces = np.unique(self.faces[kept], return_inverse=True)
        return ExtractedSurface(self.vertices[used], self.normals[used], faces.reshape(-1, 3)), used


def extract(grid: FusionGrid, views: int) -> ExtractedSurface:
    """The zero level by marching cubes (Lewiner et al., 2003) in voxels that enough views observed.

    views: number of those that were fused.

    Raises: BadInput where there is no surface.
    """
    from skimage.measure import marching_cubes

    seen = grid.weight >= min(MIN_VIEWS, max(1, views // 4))
    known = grid.distance[seen]
    if not (known < 0).any() or not (known > 0).any():
        raise BadInput(
            "expected depth maps that agree on a surface, but the grid around the scene's points has none.\n"
            "Check the pictures of: halonerf stage=render"
        )
    vertices, faces, _, _ = marching_cubes(grid.distance, 0.0, mask=seen)
    world = grid.origin + vertices.astype(np.float64) * grid.side
    return ExtractedSurface(world, _normals(world, faces), faces.astype(np.int64))


def sample_views(
    surface: ExtractedSurface,
    views: Iterable[View],
    render: Callable[[View], tuple[np.ndarray, np.ndarray]],
    side: float,
    width: int,
) -> tuple[Array, Array]:
    """Mean of what views show at the vertices, weighted by the cosine between normal and direction of view.

    Args:
        render: of a view, depth [H, W] (0: unknown) and values [H, W, C].
        side: world units, of a voxel; a vertex is visible where the depth is within `MARGIN` voxels of its own.
        width: C.
    Returns: means [N, C], and sums of weights [N], 0 for vertices that no view sees.
    """
    total, weight = np.zeros((len(surface.vertices), width)), np.zeros(len(surface.vertices))
    for view in views:
        depth, values = render(view)
        pose = view.world_to_camera.double().numpy()
        local = surface.vertices @ pose[:, :3].T + pose[:, 3]
        z = np.maximum(local[:, 2], 1e-9)
        column = np.floor(view.fx * local[:, 0] / z + view.cx)
        row = np.floor(view.fy * local[:, 1] / z + view.cy)
        framed = (local[:, 2] > 0) & (column >= 0) & (row >= 0) & (column < view.width) & (row < view.height)
        inside = np.flatnonzero(framed)
        r, c = row[inside].astype(int), column[inside].astype(int)
        observed = depth[r, c]
        sight = view.centre.double().numpy() - surface.vertices[inside]
        cosine = (sight * surface.normals[inside]).sum(axis=1) / np.maximum(np.linalg.norm(sight, axis=1), 1e-12)
        visible = (observed > 0) & (np.abs(observed - z[inside]) < MARGIN * side) & (cosine > MIN_COSINE)
        rows, share = inside[visible], cosine[visible]
        total[rows] += share[:, None] * values[r[visible], c[visible]]
        weight[rows] += share
    return total / np.maximum(weight, 1e-12)[:, None], weight


def large_pieces(surface: ExtractedSurface) -> NDArray[np.bool_]:
    """Whether each face belongs to a connected piece of at least `MIN_PIECE_SHARE` of all faces, bool [F]."""
    faces, vertices = surface.faces, len(surface.vertices)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    graph = coo_array((np.ones(len(edges), bool), edges.T), shape=(vertices, vertices))
    _, piece = connected_components(graph, directed=False)
    of_face = piece[faces[:, 0]]
    return np.bincount(of_face)[of_face] >= MIN_PIECE_SHARE * len(faces)


def _normals(vertices: Array, faces: NDArray[np.int64]) -> Array:
    """Unit normals of vertices, [N, 3]: the mean of their faces' normals, weighted by area."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    across = np.cross(b - a, c - a)
    total = np.zeros_like(vertices)
    for i in range(3):
        np.add.at(total, faces[:, i], across)
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)


MARGIN = 4  # voxels on either side of a surface: distances are truncated there
PADDING = 0.05  # of the longest side of the points' box, on all sides
TOP_PADDING = 0.25  # of the height, above: slender spires have few points
VOXEL_BYTES = 24  # distance, weight, and the memory that marching cubes takes


@dataclass(frozen=True)
class FusionGrid:
    """A voxel grid of truncated signed distances (Curless and Levoy, 1996).

    distance: float32 [X, Y, Z], in voxels, positive outside. weight: float32 [X, Y, Z], number of views that observed
    the voxel. origin: [3], world frame, centre of the first voxel. side: world units, of a voxel.
    """

    distance: NDArray[np.float32]
    weight: NDArray[np.float32]
    origin: NDArray[np.float64]
    side: float


def empty_grid(points: np.ndarray, voxels: int, memory_mb: float) -> FusionGrid:
    """An empty grid around the middle 99 % of points [N, 3] (+z up), with `voxels` along its longest side.

    Raises: BadInput where the grid and its surface extraction need more than `memory_mb` MB.
    """
    low, high = np.quantile(points, [0.005, 0.995], axis=0)
    padding = PADDING * (high - low).max()
    low, high = low - padding, high + padding + np.array([0.0, 0.0, TOP_PADDING * (high - low)[2]])
    side = float((high - low).max()) / voxels
    shape = tuple(int(n) for n in np.maximum(np.ceil((high - low) / side), 2))
    needed = float(np.prod(shape)) * VOXEL_BYTES * 1e-6
    if needed > memory_mb:
        raise BadInput(
            f"expected a grid that takes at most {memory_mb:g} MB, got one of {' x '.join(map(str, shape))} voxels, "
            f"which takes {needed:.0f} MB.\nTake larger voxels, or allow more: export.voxels=… export.memory_mb=…"
        )
    return FusionGrid(np.zeros(shape, np.float32), np.zeros(shape, np.float32), low + 0.5 * side, side)


def fuse(grid: FusionGrid, views: Iterable[View], depth_of: Callable[[View], np.ndarray]) -> None:
    """Fuse depth maps into the grid, in place: each voxel's distance is the mean over the views that observe it.

    depth_of: the depth map of a view, [H, W], world units along the optical axis, 0 where unknown.
    """
    for view in views:
        pose = view.world_to_camera.double().numpy()
        start = pose[:, :3] @ grid.origin + pose[:, 3]
        step = pose[:, :3] * grid.side  # change of camera coordinates per voxel along x, y, z
        depth = np.ascontiguousarray(depth_of(view), np.float32)
        intrinsics = np.array([view.fx, view.fy, view.cx, view.cy])
        _integrate(grid.distance, grid.weight, start, step, intrinsics, depth, grid.side, float(MARGIN))


@compiled(parallel=True)
def _integrate(distance, weight, start, step, intrinsics, depth, side, margin):  # type: ignore[no-untyped-def]
    """Fuse one depth map; the signed distance is taken along the optical axis."""
    height, width = depth.shape
    for i in numba.prange(distance.shape[0]):
        for j in range(distance.shape[1]):
            for k in range(distance.shape[2]):
                z = start[2] + i * step[2, 0] + j * step[2, 1] + k * step[2, 2]
                if z <= 0:
                    continue
                x = start[0] + i * step[0, 0] + j * step[0, 1] + k * step[0, 2]
                y = start[1] + i * step[1, 0] + j * step[1, 1] + k * step[1, 2]
                column = int(np.floor(intrinsics[0] * x / z + intrinsics[2]))
                row = int(np.floor(intrinsics[1] * y / z + intrinsics[3]))
                if column < 0 or row < 0 or column >= width or row >= height:
                    continue
                surface = depth[row, column]
                if surface <= 0:
                    continue
                signed = (surface - z) / side
                if signed < -margin:
                    continue  # behind the surface: unknown
                signed = min(signed, margin)
                before = weight[i, j, k]
                distance[i, j, k] = (distance[i, j, k] * before + signed) / (before + 1)
                weight[i, j, k] = before + 1
