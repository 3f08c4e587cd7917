"""Triangle meshes with materials and concepts. Metres; x right, y away from the front, z up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
UP = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True)
class LocalFrame:
    """Coordinates of a vertical plane: a along `right`, b up, c outward along `normal`, from `origin`, [3] each."""

    origin: Array
    right: Array
    normal: Array

    @classmethod
    def facing(cls, origin: ArrayLike, degrees: float) -> LocalFrame:
        """Frame whose normal is -y (towards the square) rotated by `degrees` about the vertical axis."""
        angle = np.radians(degrees)
        right = np.array([np.cos(angle), np.sin(angle), 0.0])
        return cls(np.asarray(origin, float), right, np.array([np.sin(angle), -np.cos(angle), 0.0]))

    def world(self, points: ArrayLike) -> Array:
        """World coordinates of local points (a, b, c), [..., 3] each."""
        p = np.asarray(points, float)
        return self.origin + p[..., :1] * self.right + p[..., 1:2] * UP + p[..., 2:] * self.normal

    def moved(self, a: float = 0.0, b: float = 0.0, c: float = 0.0) -> LocalFrame:
        """The same plane with its origin at local (a, b, c)."""
        return LocalFrame(self.world([a, b, c]), self.right, self.normal)


@dataclass(frozen=True)
class MeshPart:
    """One instance of a concept: its name, bounding box in the world, [3] each, and outward normal [3] or None."""

    name: str
    low: Array
    high: Array
    normal: Array | None

    @property
    def corners(self) -> Array:
        """Corners of the bounding box, [8, 3]."""
        grid = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), -1).reshape(8, 3)
        return np.where(grid == 0, self.low, self.high)


@dataclass(frozen=True)
class MeshSurface:
    """Triangles of one material and one set of concepts.

    vertices: [T, 3, 3], world, in either winding. uv: [T, 3, 2], metres of texture. colours: [T, 3] linear, or None.
    """

    material: str
    concepts: frozenset[str]
    vertices: Array
    uv: Array
    colours: Array | None = None


class MeshBuilder:
    """Collects triangles; those added inside `with mesh.part("portal"):` belong to a portal."""

    def __init__(self) -> None:
        self.parts: list[MeshPart] = []
        self._chunks: list[MeshSurface] = []
        self._concepts: list[str] = []

    @contextmanager
    def part(self, name: str, *also: str, normal: Array | None = None) -> Iterator[None]:
        """Context in which added triangles form one instance of `name` and also belong to the concepts `also`."""
        start, depth = len(self._chunks), len(self._concepts)
        self._concepts += [name, *also]
        yield
        del self._concepts[depth:]
        points = np.concatenate([chunk.vertices.reshape(-1, 3) for chunk in self._chunks[start:]])
        self.parts.append(MeshPart(name, points.min(0), points.max(0), normal))

    def add(
        self,
        triangles: ArrayLike,
        material: str,
        uv: Array | None = None,
        colour: Sequence[float] | None = None,
    ) -> None:
        """Add triangles [T, 3, 3], world. uv: [T, 3, 2], metres; None: by `unfold`. colour: linear RGB."""
        t = np.asarray(triangles, float)
        mapping = np.full((len(t), 3, 2), np.nan) if uv is None else uv
        tint = None if colour is None else np.tile(np.asarray(colour, float), (len(t), 1))
        self._chunks.append(MeshSurface(material, frozenset(self._concepts), t, mapping, tint))

    def surfaces(self) -> list[MeshSurface]:
        """All triangles of positive area, merged by material and concepts, in a fixed order."""
        groups: dict[tuple[str, tuple[str, ...]], list[MeshSurface]] = {}
        for chunk in self._chunks:
            groups.setdefault((chunk.material, tuple(sorted(chunk.concepts))), []).append(chunk)
        return [_merged(material, frozenset(c), chunks) for (material, c), chunks in sorted(groups.items())]

    def strip(self, first: ArrayLike, second: ArrayLike, material: str, colour: Sequence[float] | None = None) -> None:
        """Add quadrilaterals between two polylines [N, 3], world."""
        p, q = np.asarray(first, float), np.asarray(second, float)
        lower = np.stack([p[:-1], p[1:], q[1:]], axis=1)
        upper = np.stack([p[:-1], q[1:], q[:-1]], axis=1)
        self.add(np.concatenate([lower, upper]), material, colour=colour)

    def box(
        self,
        frame: LocalFrame,
        a: Sequence[float],
        b: Sequence[float],
        c: Sequence[float],
        material: str,
        colour: Sequence[float] | None = None,
    ) -> None:
        """Add a block spanning a[0]..a[1], b[0]..b[1], c[0]..c[1] of the frame."""
        self.hexahedron(frame, [(a[0], a[1], c[0], c[1], b[0]), (a[0], a[1], c[0], c[1], b[1])], material, colour)

    def hexahedron(
        self,
        frame: LocalFrame,
        floors: Sequence[tuple[float, float, float, float, float]],
        material: str,
        colour: Sequence[float] | None = None,
    ) -> None:
        """Add a body through rectangles (a0, a1, c0, c1, b) at heights b, closed at both ends."""
        loops = [
            frame.world([(a0, b, c0), (a1, b, c0), (a1, b, c1), (a0, b, c1), (a0, b, c0)])
            for a0, a1, c0, c1, b in floors
        ]
        for below, above in pairwise(loops):
            self.strip(below, above, material, colour)
        for loop in (loops[0], loops[-1]):
            self.strip(loop[[0, 1]], loop[[3, 2]], material, colour)

    def lathe(
        self,
        centre: ArrayLike,
        profile: ArrayLike,
        material: str,
        segments: int = 24,
        turn: float = 0.0,
        span: tuple[float, float] = (0.0, 360.0),
        colour: Sequence[float] | None = None,
    ) -> None:
        """Add the surface of revolution of `profile` [N, 2] (radius, height above `centre`); u runs along the girth."""
        radius, height = np.asarray(profile, float).T
        angle = np.radians(np.linspace(span[0], span[1], segments + 1) + turn)
        direction = np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], axis=1)
        middle = np.asarray(centre, float)
        points = middle + radius[:, None, None] * direction + height[:, None, None] * UP
        along = np.concatenate([[0.0], np.hypot(np.diff(radius), np.diff(height)).cumsum()])
        girth = (angle - angle[0]) * radius.max()
        uv = np.stack(np.broadcast_arrays(girth[None] + middle[0] * 1.37, along[:, None] + middle[2]), -1)

        def corners(grid: Array) -> Array:
            p, q, r, s = grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]
            both = np.concatenate([np.stack([p, q, r], 2), np.stack([p, r, s], 2)])
            return both.reshape(-1, 3, grid.shape[-1])

        self.add(corners(points), material, corners(uv), colour)


def _merged(material: str, concepts: frozenset[str], chunks: list[MeshSurface]) -> MeshSurface:
    vertices, uv = (np.concatenate([getattr(c, name) for c in chunks]) for name in ("vertices", "uv"))
    colours = [c.colours for c in chunks if c.colours is not None]
    cross = np.cross(vertices[:, 1] - vertices[:, 0], vertices[:, 2] - vertices[:, 0])
    area = np.linalg.norm(cross, axis=1)
    keep = area > 1e-9
    vertices, uv, normal = vertices[keep], uv[keep], (cross / np.maximum(area, 1e-12)[:, None])[keep]
    uv = np.where(np.isnan(uv), unfold(vertices, normal), uv)
    return MeshSurface(material, concepts, vertices, uv, np.concatenate(colours)[keep] if colours else None)


def unfold(triangles: Array, normals: Array) -> Array:
    """Texture coordinates [T, 3, 2], metres: along the horizontal for walls, (x, y) for floors.

    Walls of different orientation use different places of the texture, so that no two sides are equal.
    """
    horizontal = np.stack([-normals[:, 1], normals[:, 0], np.zeros(len(normals))], axis=1)
    length = np.linalg.norm(horizontal, axis=1, keepdims=True)
    level = length[:, 0] < 0.3
    horizontal = np.where(level[:, None], [1.0, 0.0, 0.0], horizontal / np.maximum(length, 1e-9))
    azimuth = np.round(np.arctan2(normals[:, 1], normals[:, 0]) / (np.pi / 8))
    shift = np.where(level, 0.0, azimuth * 17.3)
    u = np.einsum("tij,tj->ti", triangles, horizontal) + shift[:, None]
    v = np.where(level[:, None], triangles[..., 1], triangles[..., 2])
    return np.stack([u, v], axis=-1)
