"""Geometry of a 19th-century synagogue: gabled front, rose window, corner towers with onion domes; random by seed."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from halonerf.data.procedural.crowns import dome
from halonerf.data.procedural.masses import balustrade, cornice, gable_roof, hip_roof, pinnacle, sides, square_tower
from halonerf.data.procedural.mesh import LocalFrame, MeshBuilder
from halonerf.data.procedural.openings import portal, rose_in_wall, row_of_windows, window
from halonerf.data.procedural.outline import Style, arched
from halonerf.data.procedural.walls import annulus, wall


def synagogue(mesh: MeshBuilder, rng: Generator) -> None:
    """Add the building, with its main front in the plane y = 0, centred on x = 0, on the ground z = 0."""
    style: Style = "round" if rng.random() < 0.6 else "keel"
    half, height = rng.uniform(7.5, 9.5), rng.uniform(18.5, 22.0)
    wing, low = rng.uniform(6.0, 8.0), height * rng.uniform(0.55, 0.68)
    length = rng.uniform(28.0, 36.0)
    ground = height * 0.42
    _front(mesh, rng, style, half, ground, height)
    tower = rng.uniform(2.3, 3.0)
    onion = str(rng.choice(["onion", "melon"]))
    tall = height + rng.uniform(3.0, 9.0)
    for side in (-1, 1):
        _corner_tower(mesh, rng, style, (side * (half + tower), tower - 0.6), tower, ground, tall, onion)
        _wing(mesh, rng, style, side, half + 2 * tower, wing, low, length)
        _flank(mesh, style, side, half, low, height, length)
    ridge = height + half * 0.55
    gable_roof(mesh, (-half - 0.4, half + 0.4), (0.7, length), height, ridge)
    if rng.random() < 0.75:
        radius = half * rng.uniform(0.55, 0.7)
        place = (0.0, length * rng.uniform(0.4, 0.5))
        mesh.box(
            LocalFrame.facing([*place, 0.0], 0),
            (-radius * 1.12, radius * 1.12),
            (height, ridge + 0.6),
            (-radius * 1.12, radius * 1.12),
            "wall",
        )
        cornice(mesh, place, radius * 1.12, ridge + 0.6, 0.35, 0.5)
        dome(
            mesh,
            place,
            radius,
            ridge + 0.6,
            rng.uniform(3.2, 5.0),
            12,
            rng,
            str(rng.choice(["round", "onion", "melon", "tall"])),
        )


def _front(mesh: MeshBuilder, rng: Generator, style: Style, half: float, ground: float, height: float) -> None:
    front = LocalFrame.facing([0, 0, 0], 0)
    middle = arched(0, 0.7, half * 0.62, ground * 0.5, style, 18)
    side_doors = [arched(s * half * 0.64, 0.7, half * 0.4, ground * 0.42, style, 14) for s in (-1, 1)]
    wall(mesh, front, (-half, half), (0, ground), [middle, *side_doors])
    portal(mesh, front, middle, style, 3, ground * 0.44, figures=False)
    for door in side_doors:
        portal(mesh, front, door, style, 2, ground * 0.36, figures=False, doors=1)
    mesh.box(front, (-half, half), (ground - 0.3, ground + 0.3), (-0.1, 0.45), "trim")
    radius = min(half * rng.uniform(0.42, 0.52), (height - ground - 6.0) / 2)
    upper = ground + 2 * radius + 2.4
    rose_in_wall(
        mesh, front, (-half, half), (ground, upper), (0, ground + radius + 1.0), radius, int(rng.choice([8, 10, 12]))
    )
    for s in (-1, 1):
        _blind_lancet(mesh, front, s * half * 0.78, ground + 1.2, half * 0.22, upper - 1.6)
    count = int(rng.choice([5, 7]))
    row_of_windows(
        mesh,
        front,
        (-half, half),
        (upper, height),
        count,
        half * 1.2 / count,
        upper + 0.5,
        height - 0.6 - half * 0.6 / count,
        style,
        1,
    )
    peak = height + half * 0.72
    mesh.add([front.world([(-half, height, 0), (half, height, 0), (0, peak, 0)])], "wall")
    slope = np.array([(-half - 0.4, height - 0.2, 0.3), (0, peak + 0.4, 0.3), (half + 0.4, height - 0.2, 0.3)])
    for offset, c in ((0.0, 0.0), (0.8, 0.0)):
        mesh.strip(front.world(np.add(slope, [0, offset, c])), front.world(np.add(slope, [0, offset, c - 1.1])), "trim")
    mesh.strip(front.world(slope), front.world(np.add(slope, [0, 0.8, 0])), "trim")
    for k in range(1, 8):
        for s in (-1, 1):
            x, z = s * half * (1 - k / 8), height + (peak - height) * k / 8
            mesh.box(front, (x - 0.22, x + 0.22), (z - 0.9, z - 0.1), (0, 0.25), "trim")
    tablets = front.moved(b=peak + 0.9)
    for s in (-1, 1):
        outline = arched(s * 0.55, 0, 1.0, 0.9, "round", 10)
        mesh.strip(
            tablets.world([(*p, 0.1) for p in outline.arch()]),
            tablets.world([(*p, -0.4) for p in outline.arch()]),
            "trim",
        )
        mesh.strip(
            tablets.world(np.stack([outline.xs, outline.low, 0 * outline.xs + 0.1], 1)),
            tablets.world(np.stack([outline.xs, outline.high, 0 * outline.xs + 0.1], 1)),
            "carved",
        )
    _star(mesh, front, (0.0, height + (peak - height) * 0.36), half * 0.13)


def _star(mesh: MeshBuilder, frame: LocalFrame, centre: tuple[float, float], radius: float) -> None:
    """Add a hexagram in a ring."""
    annulus(mesh, frame, centre, (radius * 1.25, radius * 1.5), (0, 0.2), "trim", 28)
    for turn in (90, 270):
        angle = np.radians(turn + 120 * np.arange(4))
        points = np.stack([np.cos(angle), np.sin(angle)], 1)
        outer, inner = (np.asarray(centre) + r * points for r in (radius * 1.15, radius * 0.8))
        lift = 0.16 if turn == 90 else 0.2
        ends = [np.concatenate([p, np.full((4, 1), lift)], 1) for p in (outer, inner)]
        mesh.strip(frame.world(ends[0]), frame.world(ends[1]), "gold")


def _blind_lancet(mesh: MeshBuilder, frame: LocalFrame, x: float, sill: float, width: float, top: float) -> None:
    """Add a slender window in a projecting frame, set on the wall."""
    outline = arched(x, sill, width, top - width, "round", 10)
    with mesh.part("window", normal=frame.normal):
        mesh.strip(
            frame.world(np.stack([outline.xs, outline.low, 0 * outline.xs + 0.05], 1)),
            frame.world(np.stack([outline.xs, outline.high, 0 * outline.xs + 0.05], 1)),
            "glass",
        )
        for grow, out in ((0.0, 0.3), (0.25, 0.2)):
            ring = arched(x, sill, width + 2 * grow, top - width, "round", 10)
            wide = arched(x, sill, width + 2 * grow + 0.5, top - width, "round", 10)
            mesh.strip(
                frame.world([(*p, out) for p in ring.arch()]), frame.world([(*p, out) for p in wide.arch()]), "trim"
            )
            mesh.strip(
                frame.world([(*p, 0) for p in ring.arch()]), frame.world([(*p, out) for p in ring.arch()]), "trim"
            )
        mesh.box(frame, (x - width, x + width), (sill - 0.3, sill), (0, 0.4), "trim")


def _corner_tower(
    mesh: MeshBuilder,
    rng: Generator,
    style: Style,
    centre: tuple[float, float],
    half: float,
    ground: float,
    top: float,
    onion: str,
) -> None:
    x, y = centre
    with mesh.part("tower"):
        middle = ground + (top - ground) * 0.55
        square_tower(mesh, centre, half, [(0.0, ground), (ground, middle), (middle, top)], style, lights=1, openings=1)
        octagon = half * 0.82
        facet = 2 * octagon * np.tan(np.pi / 8)
        for frame in sides(x, y, octagon, 0.0, 8):
            row_of_windows(
                mesh,
                frame,
                (-facet / 2, facet / 2),
                (top, top + 4.0),
                1,
                facet * 0.5,
                top + 0.9,
                top + 2.7,
                style,
                1,
                0.35,
                glass="louvre",
            )
        for sx in (-1, 1):
            for sy in (-1, 1):
                pinnacle(mesh, [x + sx * (half - 0.9), y + sy * (half - 0.9), top], 0.32, 2.6)
    dome(
        mesh,
        centre,
        octagon * 0.95,
        top + 4.0,
        0.7,
        0,
        rng,
        onion,
    )


def _wing(
    mesh: MeshBuilder, rng: Generator, style: Style, side: int, inner: float, width: float, height: float, length: float
) -> None:
    middle = side * (inner + width / 2)
    front = LocalFrame.facing([middle, 1.5, 0], 0)
    door = arched(0, 0.5, width * 0.42, height * 0.3, style)
    half = width / 2
    wall(mesh, front, (-half, half), (0, height * 0.52), [door])
    portal(mesh, front, door, style, 2, height * 0.26, figures=False)
    row_of_windows(
        mesh,
        front,
        (-half, half),
        (height * 0.52, height),
        2,
        width * 0.26,
        height * 0.58,
        height * 0.86 - width * 0.13,
        style,
        2,
    )
    mesh.box(front, (-half, half), (height * 0.5, height * 0.54), (-0.1, 0.3), "trim")
    balustrade(mesh, front, (-half, half), height)
    outer = LocalFrame.facing([side * (inner + width), 1.5 + length * 0.45, 0], 90 * side)
    reach = length * 0.45
    bays = int(rng.integers(4, 6))
    for z0, z1, lights in ((0.0, height * 0.5, 1), (height * 0.5, height, 2)):
        row_of_windows(
            mesh,
            outer,
            (-reach, reach),
            (z0, z1),
            bays,
            reach / bays * 0.9,
            z0 + (z1 - z0) * 0.22,
            z0 + (z1 - z0) * 0.62,
            style,
            lights,
        )
        mesh.box(outer, (-reach, reach), (z1 - 0.3, z1), (-0.1, 0.35), "trim")
    left, right = sorted((side * inner, side * (inner + width)))
    hip_roof(mesh, (left, right), (1.5, 1.5 + 2 * reach), height, 1.8, 0.3)


def _flank(mesh: MeshBuilder, style: Style, side: int, half: float, low: float, height: float, length: float) -> None:
    """Add the upper wall of the hall, over the wing."""
    frame = LocalFrame.facing([side * half, length / 2, 0], 90 * side)
    wall(mesh, frame, (-length / 2, length / 2), (0, low))
    places = np.linspace(-length / 2, length / 2, 7)
    middles = (places[:-1] + places[1:]) / 2
    rise = height - low
    outlines = [arched(float(x), low + rise * 0.3, 1.9, low + rise * 0.62, style) for x in middles]
    wall(mesh, frame, (-length / 2, length / 2), (low, height), outlines)
    for outline in outlines:
        window(mesh, frame, outline)
    mesh.box(frame, (-length / 2, length / 2), (height - 0.5, height), (-0.1, 0.4), "trim")
