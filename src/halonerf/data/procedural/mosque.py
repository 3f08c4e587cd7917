"""Geometry of a domed mosque: minarets, half-domes, a portico of small domes, a tall portal; random by seed. Metres."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from halonerf.data.procedural.crowns import crescent, dome
from halonerf.data.procedural.masses import balustrade, cornice, hip_roof, sides
from halonerf.data.procedural.mesh import LocalFrame, MeshBuilder
from halonerf.data.procedural.openings import portal, row_of_windows
from halonerf.data.procedural.outline import Style, arched
from halonerf.data.procedural.walls import band, wall


def mosque(mesh: MeshBuilder, rng: Generator) -> None:
    """Add the building, with its portal in the plane y = 0, centred on x = 0, on the ground z = 0."""
    style: Style = "keel" if rng.random() < 0.6 else "round"
    half, height = rng.uniform(14.0, 18.0), rng.uniform(11.0, 14.0)
    shape = str(rng.choice(["round", "melon", "onion", "tall"], p=[0.4, 0.3, 0.1, 0.2]))
    porch = rng.uniform(6.5, 8.5)
    depth = 2 * half
    centre = (0.0, porch + half)
    _hall(mesh, rng, style, half, height, centre)
    _domes(mesh, rng, shape, half, height, centre)
    iwan, iwan_top = rng.uniform(4.6, 5.8), height * rng.uniform(1.02, 1.25)
    _iwan(mesh, style, iwan, iwan_top)
    _portico(mesh, rng, style, iwan, half, porch, height * 0.62)
    count = int(rng.choice([2, 4], p=[0.45, 0.55]))
    reach, tall = half + rng.uniform(1.5, 3.5), rng.uniform(38.0, 50.0)
    balconies = int(rng.integers(1, 4))
    for side in (-1, 1):
        _minaret(mesh, (side * reach, porch * 0.5), tall, balconies, height)
        if count == 4:
            _minaret(mesh, (side * reach, porch + depth), tall * 0.94, balconies, height)


def _hall(
    mesh: MeshBuilder, rng: Generator, style: Style, half: float, height: float, centre: tuple[float, float]
) -> None:
    bays = int(rng.integers(4, 7))
    lower = height * 0.52
    for index, frame in enumerate(sides(*centre, half, 0.0)):
        step = 2 * half / bays
        if index != 0:
            row_of_windows(
                mesh, frame, (-half, half), (0.0, lower), bays, step * 0.42, 1.6, lower - step * 0.42, style, 2
            )
        else:
            wall(mesh, frame, (-half, half), (0.0, lower))
        row_of_windows(
            mesh,
            frame,
            (-half, half),
            (lower, height),
            bays,
            step * 0.36,
            lower + 0.9,
            height - 1.0 - step * 0.3,
            "round",
            2,
            glass="lattice",
        )
        mesh.box(frame, (-half, half), (lower - 0.25, lower + 0.15), (-0.1, 0.3), "trim")
        for k in range(bays + 1):
            x = -half + k * step
            mesh.hexahedron(
                frame,
                [
                    (x - 0.6, x + 0.6, -0.4, 0.9, 0),
                    (x - 0.6, x + 0.6, -0.4, 0.7, height - 0.8),
                    (x - 0.6, x + 0.6, -0.4, 0.1, height - 0.2),
                ],
                "wall",
            )
        balustrade(mesh, frame, (-half, half), height, 0.9)
    cornice(mesh, centre, half, height, 0.6, 0.7)
    hip_roof(mesh, (-half, half), (centre[1] - half, centre[1] + half), height, 0.5, 0.95)


def _domes(
    mesh: MeshBuilder, rng: Generator, shape: str, half: float, height: float, centre: tuple[float, float]
) -> None:
    x, y = centre
    main = half * rng.uniform(0.56, 0.64)
    base = height + main * 0.62
    mesh.hexahedron(
        LocalFrame.facing([x, y, 0], 0),
        [
            (-main * 1.1, main * 1.1, -main * 1.1, main * 1.1, height),
            (-main * 1.1, main * 1.1, -main * 1.1, main * 1.1, base),
        ],
        "wall",
    )
    cornice(mesh, centre, main * 1.1, base, 0.4, 0.6)
    dome(mesh, centre, main, base, rng.uniform(3.0, 4.6), int(rng.choice([12, 16, 20])), rng, shape, finial="crescent")
    for k, (dx, dy) in enumerate(((0, -1), (1, 0), (0, 1), (-1, 0))):
        with mesh.part("dome"):
            foot = [x + dx * main * 1.02, y + dy * main * 1.02, height]
            t = np.linspace(0, 1, 12)
            r = main * 0.74
            profile = np.stack([r * np.sqrt(np.maximum(1 - t**2, 1e-4)), 1.6 + t * r * 0.72], 1)
            mesh.lathe(foot, [(r, 0), (r, 1.3)], "wall", 16)
            mesh.lathe(foot, [(r, 1.2), (r * 1.05, 1.35), (r * 1.05, 1.6), (r, 1.6)], "trim", 24)
            mesh.lathe(foot, profile, "dome", 28)
            for j in range(5):
                window_foot = np.radians(-90 + 90 * k + (j - 2) * 30)
                frame = LocalFrame.facing(
                    np.add(foot, [np.cos(window_foot) * r, np.sin(window_foot) * r, 0]), 90 * k + (j - 2) * 30
                )
                with mesh.part("window", normal=frame.normal):
                    outline = arched(0, 0.1, 1.0, 0.6, "round", 8)
                    band(mesh, frame, outline, 0.15, (-0.1, 0.18), "trim")
                    mesh.box(frame, (-0.5, 0.5), (0.1, 0.9), (-0.1, 0.06), "glass")
    for sx in (-1, 1):
        for sy in (-1, 1):
            place = (x + sx * half * 0.8, y + sy * half * 0.8)
            dome(mesh, place, half * 0.15, height, 1.8, 8, rng, shape, finial="crescent")


def _iwan(mesh: MeshBuilder, style: Style, half: float, top: float) -> None:
    """Add the portal: a tall rectangular screen around a deep niche, with a framed door."""
    front = LocalFrame.facing([0, -0.6, 0], 0)
    with mesh.part("portal", normal=front.normal):
        niche = arched(0.0, 0.54, half * 1.25, top * 0.5, style, 20)
        wall(mesh, front, (-half, half), (0.0, top), [niche], "tiles")
        portal(mesh, front, niche, style, 3, top * 0.36, figures=False)
        for x in (-half, half):
            mesh.box(front, (x - 0.45, x + 0.45), (0, top + 1.2), (-0.9, 0.35), "trim")
            foot = front.world([x, top + 1.2, -0.25])
            mesh.lathe(foot, [(0.5, 0), (0.5, 1.4), (0.65, 1.5), (0.5, 2.0), (0.0, 3.0)], "dome", 10)
        mesh.box(front, (-half, half), (top - 0.5, top), (-0.4, 0.3), "trim")
        for z in (top * 0.86, top * 0.93):
            mesh.box(front, (-half, half), (z - 0.12, z), (0.0, 0.12), "trim")
        count = int(half * 2 / 0.8)
        for x in np.linspace(-half + 0.6, half - 0.6, count):
            mesh.hexahedron(
                front,
                [
                    (x - 0.28, x + 0.28, -0.3, 0.2, top),
                    (x - 0.28, x + 0.28, -0.3, 0.2, top + 0.7),
                    (x - 0.05, x + 0.05, -0.1, 0.0, top + 1.1),
                ],
                "trim",
            )
        mesh.box(front, (-half, half), (0, top), (-3.8, -3.2), "wall")
        for x in (-half, half):
            mesh.box(front, (x - 0.2, x + 0.2), (0, top), (-3.8, -0.1), "wall")


def _portico(
    mesh: MeshBuilder, rng: Generator, style: Style, inner: float, half: float, depth: float, height: float
) -> None:
    bays = int(rng.integers(2, 4))
    step = (half - inner) / bays
    for side in (-1, 1):
        for k in range(bays):
            x = side * (inner + (k + 0.5) * step)
            frame = LocalFrame.facing([x, 0, 0], 0)
            spring = height - 1.0 - step * 0.48
            outline = arched(0, 0.0, step * 0.78, spring, style)
            wall(mesh, frame, (-step / 2, step / 2), (0, height), [outline], "ablaq")
            band(mesh, frame, outline, 0.35, (0.0, 0.15), "trim")
            for z, c in ((0.0, -0.7),):
                mesh.strip(
                    frame.world([(*p, z) for p in outline.arch()]),
                    frame.world([(*p, c) for p in outline.arch()]),
                    "trim",
                )
            dome(mesh, (x, depth * 0.5), step * 0.36, height, 0.6, 0, rng, "round", finial="crescent")
            for edge in (-1, 1):
                foot = frame.world([edge * step / 2, 0, 0.15])
                mesh.lathe(
                    foot,
                    [(0.42, 0), (0.42, 0.4), (0.3, 0.6), (0.27, spring - 0.6), (0.5, spring), (0.5, spring + 0.3)],
                    "trim",
                    12,
                )
        start, end = sorted((side * inner, side * half))
        mesh.box(LocalFrame.facing([0, 0, 0], 0), (start, end), (height - 0.4, height), (-depth, 0.4), "trim")
        outer = LocalFrame.facing([side * half, depth / 2, 0], 90 * side)
        door = arched(0, 0, depth * 0.6, height * 0.5, style)
        wall(mesh, outer, (-depth / 2, depth / 2), (0, height), [door])


def _minaret(mesh: MeshBuilder, foot: tuple[float, float], height: float, balconies: int, base: float) -> None:
    x, y = foot
    with mesh.part("minaret"):
        size, square = 2.1, base * 0.8
        mesh.hexahedron(
            LocalFrame.facing([x, y, 0], 0),
            [
                (-size - 0.3, size + 0.3, -size - 0.3, size + 0.3, 0),
                (-size, size, -size, size, 0.8),
                (-size, size, -size, size, square),
            ],
            "wall",
        )
        cornice(mesh, (x, y), size, square, 0.25, 0.4)
        levels = np.linspace(square + 3, height * 0.8, balconies + 2)[1:]
        radius, below = 1.65, square + 3.0
        mesh.lathe([x, y, 0], [(size * 1.25, square), (radius, square + 3.0)], "wall", 8, 22.5)
        for level in levels:
            mesh.lathe([x, y, 0], [(radius, below), (radius * 0.94, level - 1.8)], "wall", 16)
            flare = [
                (radius * 0.94, level - 1.8),
                (radius * 1.1, level - 1.5),
                (radius * 1.15, level - 1.1),
                (radius * 1.4, level - 0.7),
                (radius * 1.45, level - 0.3),
                (radius * 1.72, level),
                (radius * 1.72, level + 0.15),
                (radius * 0.8, level + 0.15),
            ]
            mesh.lathe([x, y, 0], flare, "trim", 16)
            ring = np.array([(1.66, 0.15), (1.66, 1.15), (1.74, 1.15), (1.74, 0.15)]) * [radius, 1] + [0, level]
            mesh.lathe([x, y, 0], ring, "lattice stone", 16)
            with mesh.part("window"):
                for frame in sides(x, y, radius * 0.82, level):
                    mesh.box(frame, (-0.35, 0.35), (0.2, 1.9), (-0.2, 0.16), "louvre")
            radius, below = radius * 0.86, level + 0.1
        mesh.lathe(
            [x, y, 0], [(radius, below), (radius, height * 0.8 + 2.5), (radius * 1.2, height * 0.8 + 2.8)], "wall", 16
        )
        mesh.lathe(
            [x, y, 0],
            [(radius * 1.25, height * 0.8 + 2.8), (radius * 1.1, height * 0.8 + 3.4), (0.06, height)],
            "dome",
            16,
        )
        crescent(mesh, [x, y, height - 0.3], 2.4)
