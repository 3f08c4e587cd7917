"""Geometry of the static surroundings: the square, houses, trees, lamps, a fountain, distant hills. Metres."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from halonerf.data.procedural.mesh import LocalFrame, MeshBuilder

SQUARE_HALF_WIDTH = 46.0  # metres, from the axis to the houses on either side
SQUARE_DEPTH = 78.0  # metres, in front of the landmark


def town(mesh: MeshBuilder, rng: Generator) -> None:
    """Add the surroundings of a landmark that occupies |x| < 30 from y = 0 to y = 80."""
    _ground(mesh)
    for side in (-1, 1):
        y = -SQUARE_DEPTH
        while y < 90:
            length, height = rng.uniform(9, 17), rng.uniform(8, 15)
            _house(mesh, rng, side * (SQUARE_HALF_WIDTH + rng.uniform(0, 3)), y, 90 * -side, length, height)
            y += length + (rng.uniform(5, 9) if rng.random() < 0.2 else 0.0)
    x = -SQUARE_HALF_WIDTH
    while x < SQUARE_HALF_WIDTH:
        length = rng.uniform(10, 18)
        _house(mesh, rng, x + length / 2, 98.0 + rng.uniform(0, 6), 0, length, rng.uniform(8, 14))
        x += length
    for _ in range(int(rng.integers(4, 9))):
        side = rng.choice([-1, 1])
        _tree(
            mesh,
            rng,
            np.array([side * rng.uniform(SQUARE_HALF_WIDTH - 9, SQUARE_HALF_WIDTH - 4), rng.uniform(-60, 30), 0.0]),
        )
    for side in (-1, 1):
        for y in (-14.0, -34.0, -54.0):
            _lamp(mesh, [side * 27.0, y, 0.0])
    _fountain(mesh, rng, [rng.choice([-1, 1]) * rng.uniform(17, 23), rng.uniform(-30, -20), 0.0])
    _hills(mesh, rng)


def _ground(mesh: MeshBuilder) -> None:
    edges = np.array([-400.0, -SQUARE_HALF_WIDTH - 30, SQUARE_HALF_WIDTH + 30, 400.0])
    for i in range(3):
        for j in range(3):
            x0, x1, y0, y1 = edges[i], edges[i + 1], edges[j], edges[j + 1]
            material = "ground" if i == 1 and j == 1 else "grass"
            mesh.strip([(x0, y0, 0), (x1, y0, 0)], [(x0, y1, 0), (x1, y1, 0)], material)
    frame = LocalFrame.facing([0, 0, 0], 0)
    for k, reach in enumerate((4.6, 3.8, 3.0)):
        mesh.box(frame, (-31 - reach, 31 + reach), (0.0, 0.14 * (k + 1)), (-1.0, reach), "trim")


def _house(mesh: MeshBuilder, rng: Generator, x: float, y: float, degrees: float, length: float, height: float) -> None:
    middle = [x, y + length / 2, 0.0] if degrees else [x, y, 0.0]
    frame = LocalFrame.facing(middle, degrees)
    tint = np.array([[0.62, 0.5, 0.36], [0.55, 0.36, 0.27], [0.66, 0.62, 0.54], [0.5, 0.5, 0.47], [0.68, 0.55, 0.4]])[
        rng.integers(5)
    ]
    colour = list(np.clip(tint * rng.uniform(0.75, 1.1), 0, 0.85))
    half = length / 2
    mesh.box(frame, (-half, half), (0, height), (-11, 0), "house", colour)
    floors, columns = int(height // 3.1), max(2, int(length // 2.6))
    for floor in range(floors):
        for column in range(columns):
            a = -half + (column + 0.5) * length / columns
            b = 0.9 + floor * 3.1
            shade = [c * 0.25 for c in colour] if rng.random() < 0.25 else [0.05, 0.06, 0.08]
            for left, right, low, high, out, paint in (
                (a - 0.62, a + 0.62, b - 0.12, b + 1.75, 0.03, [0.6, 0.58, 0.53]),
                (a - 0.5, a + 0.5, b, b + 1.6, 0.05, shade),
            ):
                mesh.strip(
                    frame.world([(left, low, out), (right, low, out)]),
                    frame.world([(left, high, out), (right, high, out)]),
                    "house",
                    paint,
                )
    rise = rng.uniform(2.5, 4.5)
    roof = [0.32 * rng.uniform(0.7, 1.1), 0.15, 0.1] if rng.random() < 0.7 else [0.16, 0.17, 0.19]
    mesh.hexahedron(frame, [(-half, half, -11.4, 0.5, height), (-half, half, -5.6, -5.4, height + rise)], "house", roof)
    for _ in range(2):
        a = rng.uniform(-half + 1, half - 1)
        mesh.box(frame, (a - 0.4, a + 0.4), (height, height + rise + 1.2), (-4.5, -3.6), "house", [0.4, 0.25, 0.2])


def _tree(mesh: MeshBuilder, rng: Generator, foot: np.ndarray) -> None:
    height = rng.uniform(6, 10)
    mesh.lathe(foot, [(0.35, 0), (0.22, height * 0.5), (0.1, height * 0.8)], "house", 7, colour=[0.17, 0.12, 0.08])
    green = np.array([0.13, 0.2, 0.06]) * rng.uniform(0.7, 1.4)
    for _ in range(140):
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        place = np.add(foot, [0, 0, height * 0.72]) + direction * rng.uniform(0.55, 1.0) * [2.6, 2.6, height * 0.32]
        corners = place + rng.normal(0, 0.55, (2, 3, 3))
        mesh.add(corners, "house", colour=list(green * rng.uniform(0.6, 1.4)))


def _lamp(mesh: MeshBuilder, foot: list[float]) -> None:
    mesh.lathe(
        foot,
        [(0.25, 0), (0.2, 0.6), (0.08, 0.8), (0.06, 4.2), (0.3, 4.3), (0.22, 5.0), (0.0, 5.3)],
        "house",
        8,
        colour=[0.06, 0.07, 0.07],
    )


def _fountain(mesh: MeshBuilder, rng: Generator, foot: list[float]) -> None:
    turn = float(rng.uniform(0, 45))
    mesh.lathe(
        foot,
        [
            (3.4, 0),
            (3.4, 0.8),
            (3.1, 0.8),
            (3.1, 0.5),
            (0.6, 0.5),
            (0.45, 2.2),
            (1.4, 2.6),
            (1.3, 2.75),
            (0.3, 2.6),
            (0.3, 3.6),
            (0.0, 4.4),
        ],
        "trim",
        8,
        turn,
    )


def _hills(mesh: MeshBuilder, rng: Generator) -> None:
    angle = np.linspace(0, 2 * np.pi, 90)
    waves = [rng.uniform(1, 6) / k * np.sin(k * angle + rng.uniform(0, 6.3)) for k in range(1, 9)]
    height = 9 + np.sum(waves, axis=0)
    ring = np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1) * 390
    height[-1] = height[0]
    top = ring + np.stack([0 * angle, 0 * angle, np.maximum(height * 1.6, 2.0)], 1)
    mesh.strip(ring, top, "house", colour=[0.17, 0.21, 0.18])
