"""Geometry of towers, roofs, cornices, balustrades and pinnacles. Metres."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from halonerf.data.procedural.mesh import LocalFrame, MeshBuilder
from halonerf.data.procedural.openings import row_of_windows
from halonerf.data.procedural.outline import Style


def sides(
    x: float, y: float, half: float, z: float, count: int = 4, half_depth: float | None = None
) -> list[LocalFrame]:
    """Frames of the vertical faces of a block (or of a regular prism of `count` sides) about (x, y), front first.

    half: from the centre to a face; half_depth: the same from the centre to the front, where the block is not square.
    """
    frames = []
    for k in range(count):
        degrees = 360.0 * k / count
        angle = np.radians(degrees)
        reach_x, reach_y = half, half if half_depth is None else half_depth
        frames.append(LocalFrame.facing([x + np.sin(angle) * reach_x, y - np.cos(angle) * reach_y, z], degrees))
    return frames


def square_tower(
    mesh: MeshBuilder,
    centre: tuple[float, float],
    half: float,
    stages: Sequence[tuple[float, float]],
    style: Style,
    skip_front: int = 0,
    lights: int = 2,
    openings: int = 2,
) -> float:
    """Add a tower, stage by stage (bottom, top), with windows, string courses and corner buttresses; its top.

    skip_front: number of lowest stages whose front wall the caller builds.
    """
    x, y = centre
    for index, (bottom, top) in enumerate(stages):
        shrink = half - 0.25 * index
        height = top - bottom
        for side, frame in enumerate(sides(x, y, shrink, 0.0)):
            if side == 0 and index < skip_front:
                continue
            last = index == len(stages) - 1
            width = shrink * (0.62 if last else 0.5) * 2 / openings
            row_of_windows(
                mesh,
                frame,
                (-shrink, shrink),
                (bottom, top),
                openings,
                width * 0.8,
                bottom + height * 0.16,
                top - height * 0.16 - width * 0.75,
                style,
                lights,
                depth=0.9,
                glass="louvre" if last else "glass",
            )
        cornice(mesh, (x, y), shrink, top, 0.3, 0.5)
        for sx in (-1, 1):
            for sy in (-1, 1):
                frame = LocalFrame.facing([x + sx * shrink, y + sy * shrink, 0.0], 0)
                size = 1.15 - 0.15 * index
                mesh.hexahedron(
                    frame,
                    [
                        (-size, size, -size, size, bottom),
                        (-size, size, -size, size, top - 1.0),
                        (-size * 0.7, size * 0.7, -size * 0.7, size * 0.7, top - 0.2),
                    ],
                    "wall",
                )
    return stages[-1][1]


def cornice(
    mesh: MeshBuilder,
    centre: tuple[float, float],
    half: float,
    z: float,
    out: float,
    height: float,
    half_depth: float | None = None,
) -> None:
    """Add a moulding around a block, its top at z."""
    depth = half if half_depth is None else half_depth
    frame = LocalFrame.facing([*centre, 0.0], 0)
    mesh.hexahedron(
        frame,
        [
            (-half - s, half + s, -depth - s, depth + s, z - height + t)
            for s, t in ((0.02, 0.0), (out * 0.6, height * 0.45), (out, height * 0.6), (out, height))
        ],
        "trim",
    )


def balustrade(mesh: MeshBuilder, frame: LocalFrame, a: tuple[float, float], z: float, height: float = 1.1) -> None:
    """Add posts and a rail along a wall's top."""
    count = max(2, int((a[1] - a[0]) / 0.7))
    for x in np.linspace(a[0] + 0.1, a[1] - 0.1, count):
        mesh.box(frame, (x - 0.09, x + 0.09), (z, z + height), (-0.12, 0.06), "trim")
    mesh.box(frame, (a[0], a[1]), (z + height, z + height + 0.2), (-0.2, 0.14), "trim")


def pinnacle(mesh: MeshBuilder, foot: ArrayLike, size: float, height: float) -> None:
    """Add a small turret with a pyramid, crockets and a finial."""
    base = np.asarray(foot, float)
    shaft = height * 0.45
    frame = LocalFrame(base, np.array([1.0, 0, 0]), np.array([0, -1.0, 0]))
    mesh.box(frame, (-size, size), (0, shaft), (-size, size), "trim")
    mesh.lathe(
        base,
        [(size * 1.7, shaft - 0.3), (size * 1.7, shaft), (size * 1.25, shaft + 0.1), (0.05, height)],
        "trim",
        4,
        turn=45,
    )
    mesh.lathe(base, [(0.05, height - 0.1), (size * 0.5, height + 0.1), (0.0, height + size)], "trim", 6)


def gable_roof(
    mesh: MeshBuilder,
    x: tuple[float, float],
    y: tuple[float, float],
    eaves: float,
    ridge: float,
    material: str = "roof",
) -> None:
    """Add a pitched roof whose ridge runs along y, with its gable ends."""
    middle = (x[0] + x[1]) / 2
    for edge in x:
        mesh.strip([(edge, y[0], eaves), (edge, y[1], eaves)], [(middle, y[0], ridge), (middle, y[1], ridge)], material)
    for end in y:
        mesh.strip([(x[0], end, eaves), (middle, end, ridge)], [(x[1], end, eaves), (middle, end, ridge)], "wall")


def hip_roof(
    mesh: MeshBuilder,
    x: tuple[float, float],
    y: tuple[float, float],
    eaves: float,
    rise: float,
    share: float,
    material: str = "roof",
) -> None:
    """Add a roof that slopes on all four sides to a ridge or flat top that is `share` as wide as the building."""
    cx, cy = sum(x) / 2, sum(y) / 2
    hx, hy = (x[1] - x[0]) / 2, (y[1] - y[0]) / 2
    frame = LocalFrame.facing([cx, cy, 0.0], 0)
    inset = min(hx, hy) * (1 - share)
    mesh.hexahedron(
        frame,
        [
            (-hx - 0.4, hx + 0.4, -hy - 0.4, hy + 0.4, eaves),
            (-hx + inset, hx - inset, -hy + inset, hy - inset, eaves + rise),
        ],
        material,
    )
