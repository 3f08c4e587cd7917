"""Geometry of walls with openings, and of mouldings, reveals and rings, in a wall's frame. Metres."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from halonerf.data.procedural.mesh import Array, LocalFrame, MeshBuilder
from halonerf.data.procedural.outline import Outline


def wall(
    mesh: MeshBuilder,
    frame: LocalFrame,
    a: tuple[float, float],
    b: tuple[float, float],
    openings: Sequence[Outline] = (),
    material: str = "wall",
) -> None:
    """Add the rectangle a[0]..a[1] x b[0]..b[1] at c = 0 without the openings; those of one row do not overlap in x."""
    rows: list[list[Outline]] = []
    for opening in sorted(openings, key=lambda o: o.bounds[2]):
        if rows and opening.bounds[2] < max(o.bounds[3] for o in rows[-1]):
            rows[-1].append(opening)
        else:
            rows.append([opening])
    floor = b[0]
    for row in rows:
        top = max(o.bounds[3] for o in row)
        left = a[0]
        for opening in sorted(row, key=lambda o: o.bounds[0]):
            rectangle(mesh, frame, (left, opening.bounds[0]), (floor, top), material)
            between(mesh, frame, opening.xs, np.full_like(opening.low, floor), opening.low, 0.0, material)
            between(mesh, frame, opening.xs, opening.high, np.full_like(opening.high, top), 0.0, material)
            left = opening.bounds[1]
        rectangle(mesh, frame, (left, a[1]), (floor, top), material)
        floor = top
    rectangle(mesh, frame, a, (floor, b[1]), material)


def band(
    mesh: MeshBuilder, frame: LocalFrame, outline: Outline, width: float, c: tuple[float, float], material: str
) -> None:
    """Add a moulding `width` wide around jambs and arch, from c[0] out to c[1]."""
    left, right, _, top = outline.bounds
    half, spring = (right - left) / 2, float(outline.high[0])
    scale = (half + width) / half
    grown = (top - spring + width) / (top - spring) if top - spring > 1e-6 else 1.0
    lift = 0.0 if top - spring > 1e-6 else width
    outer = Outline(
        (left + right) / 2 + (outline.xs - (left + right) / 2) * scale,
        outline.low,
        spring + lift + (outline.high - spring) * grown,
    )
    mesh.strip(at(frame, outer.arch(), c[1]), at(frame, outline.arch(), c[1]), material)
    mesh.strip(at(frame, outer.arch(), c[0]), at(frame, outer.arch(), c[1]), material)
    mesh.strip(at(frame, outline.arch(), c[0]), at(frame, outline.arch(), c[1]), material)


def reveal(mesh: MeshBuilder, frame: LocalFrame, outline: Outline, front: float, back: float, material: str) -> None:
    """Add the sides of a hole from c = front to c = back."""
    mesh.strip(at(frame, outline.loop(), front), at(frame, outline.loop(), back), material)


def annulus(
    mesh: MeshBuilder,
    frame: LocalFrame,
    centre: tuple[float, float],
    radii: tuple[float, float],
    c: tuple[float, float],
    material: str,
    segments: int,
) -> None:
    """Add a flat ring between two radii, from c[0] out to c[1]."""
    angle = np.linspace(0, 2 * np.pi, segments + 1)
    unit = np.stack([np.cos(angle), np.sin(angle)], 1)
    inner, outer = (np.asarray(centre) + r * unit for r in radii)
    mesh.strip(at(frame, inner, c[1]), at(frame, outer, c[1]), material)
    mesh.strip(at(frame, outer, c[0]), at(frame, outer, c[1]), material)
    mesh.strip(at(frame, inner, c[0]), at(frame, inner, c[1]), material)


def prism(mesh: MeshBuilder, frame: LocalFrame, corners: Array, c: tuple[float, float], material: str) -> None:
    """Add a convex quadrilateral [4, 2] extruded from c[0] to c[1]."""
    loop = np.concatenate([corners, corners[:1]])
    mesh.strip(at(frame, loop, c[0]), at(frame, loop, c[1]), material)
    mesh.strip(at(frame, corners[[0, 1]], c[1]), at(frame, corners[[3, 2]], c[1]), material)


def rectangle(
    mesh: MeshBuilder, frame: LocalFrame, a: tuple[float, float], b: tuple[float, float], material: str, c: float = 0.0
) -> None:
    """Add a flat rectangle a[0]..a[1] x b[0]..b[1] at c, unless it is empty."""
    if a[1] - a[0] > 1e-6 and b[1] - b[0] > 1e-6:
        low, high = np.array([(a[0], b[0]), (a[1], b[0])]), np.array([(a[0], b[1]), (a[1], b[1])])
        mesh.strip(at(frame, low, c), at(frame, high, c), material)


def between(mesh: MeshBuilder, frame: LocalFrame, xs: Array, low: Array, high: Array, c: float, material: str) -> None:
    """Add the area between two curves, heights `low` and `high` [N] over `xs` [N], metres, in the wall's plane at c."""
    mesh.strip(at(frame, np.stack([xs, low], 1), c), at(frame, np.stack([xs, high], 1), c), material)


def at(frame: LocalFrame, points: Array, c: float) -> Array:
    """World coordinates [N, 3] of points [N, 2] in the wall's plane at c."""
    return frame.world(np.concatenate([points, np.full((len(points), 1), c)], axis=1))
