"""Transient objects of one photo: people, cars, coaches, parasols."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from halonerf.data.procedural.mesh import Array, LocalFrame, MeshBuilder


def crowd(rng: Generator, camera: Array, forward: Array, half_angle: float, people: int, vehicles: int) -> MeshBuilder:
    """Geometry of transients on the square in front of the landmark (y < -4), some of them close to the camera.

    Args:
        camera, forward: position and optical axis, [3], world. half_angle: half the horizontal field of view, radians.
        people, vehicles: how many are placed; those outside the square are dropped.
    """
    mesh = MeshBuilder()
    flat = np.array([forward[0], forward[1], 0.0])
    heading = flat / np.linalg.norm(flat)
    across = np.array([heading[1], -heading[0], 0.0])

    def place(near: float, far: float) -> Array | None:
        distance = near + (far - near) * rng.random() ** 1.5
        point = camera * [1, 1, 0] + distance * (heading + across * rng.uniform(-1, 1) * np.tan(half_angle))
        inside = -75 < point[1] < -5.5 and abs(point[0]) < 42
        return point if inside else None

    for _ in range(people):
        spot = place(4.5, 60.0)
        if spot is not None:
            for k in range(int(rng.integers(1, 4))):
                _person(mesh, rng, np.add(spot, [0.65 * k, rng.uniform(-0.4, 0.4), 0]))
    for _ in range(vehicles):
        spot = place(14.0, 55.0)
        if spot is not None:
            [_car, _coach, _parasol, _parasol][rng.integers(4)](mesh, rng, spot)
    return mesh


def _cloth(rng: Generator) -> list[float]:
    """Random colour of cloth, linear RGB: mostly unsaturated, at times saturated."""
    saturation = rng.uniform(0.05, 0.45) if rng.random() < 0.8 else rng.uniform(0.5, 0.9)
    hue = rng.dirichlet([0.8, 0.8, 0.8]) * 3
    value = rng.choice([0.04, 0.1, 0.2, 0.35, 0.6], p=[0.3, 0.25, 0.2, 0.15, 0.1])
    return list(np.clip(value * (1 - saturation + saturation * hue), 0.02, 0.85))


def _person(mesh: MeshBuilder, rng: Generator, foot: Array) -> None:
    size = rng.uniform(0.88, 1.1)
    frame = LocalFrame.facing(foot, float(rng.uniform(0, 360)))
    trousers, coat = _cloth(rng), _cloth(rng)
    skin = list(np.array([0.62, 0.42, 0.32]) * rng.uniform(0.35, 1.15))
    stride = rng.uniform(0.05, 0.28)
    for sign in (-1, 1):
        mesh.hexahedron(
            frame,
            [
                (sign * 0.1 - 0.08, sign * 0.1 + 0.08, sign * stride - 0.1, sign * stride + 0.1, 0),
                (sign * 0.1 - 0.09, sign * 0.1 + 0.09, -0.09, 0.09, 0.85 * size),
            ],
            "passer-by",
            trousers,
        )
        mesh.hexahedron(
            frame,
            [
                (sign * 0.27 - 0.05, sign * 0.27 + 0.05, -sign * stride - 0.05, -sign * stride + 0.07, 0.75 * size),
                (sign * 0.23 - 0.06, sign * 0.23 + 0.06, -0.06, 0.06, 1.42 * size),
            ],
            "passer-by",
            coat,
        )
    mesh.lathe(
        foot,
        np.array([(0.17, 0.8), (0.24, 1.0), (0.22, 1.2), (0.24, 1.4), (0.07, 1.48), (0.07, 1.53)]) * [1, size],
        "passer-by",
        8,
        colour=coat,
    )
    mesh.lathe(
        foot, np.array([(0.0, 1.5), (0.1, 1.56), (0.11, 1.66), (0.0, 1.77)]) * [1, size], "passer-by", 8, colour=skin
    )
    if rng.random() < 0.3:
        mesh.lathe(
            foot,
            np.array([(0.16, 1.68), (0.1, 1.7), (0.08, 1.82), (0, 1.83)]) * [1, size],
            "passer-by",
            8,
            colour=_cloth(rng),
        )
    if rng.random() < 0.35:
        mesh.box(frame, (-0.16, 0.16), (1.0 * size, 1.42 * size), (-0.36, -0.18), "passer-by", _cloth(rng))


def _wheels(mesh: MeshBuilder, frame: LocalFrame, places: list[float], half_width: float, radius: float) -> None:
    angle = np.linspace(0, 2 * np.pi, 13)
    rim = np.stack([np.cos(angle), np.sin(angle) + 1, 0 * angle], 1) * [radius, radius, 1]
    for x in places:
        for c in (-half_width, half_width):
            mesh.strip(
                frame.world(np.add(rim, [x, 0, c])),
                frame.world(np.tile([x, radius, c], (13, 1))),
                "passer-by",
                [0.02, 0.02, 0.02],
            )
            mesh.strip(
                frame.world(np.add(rim, [x, 0, c])),
                frame.world(np.add(rim, [x, 0, c * 0.8])),
                "passer-by",
                [0.02, 0.02, 0.02],
            )


def _car(mesh: MeshBuilder, rng: Generator, foot: Array) -> None:
    frame = LocalFrame.facing(foot, float(rng.uniform(-30, 30)))
    body, dark = _cloth(rng), [0.03, 0.04, 0.05]
    mesh.hexahedron(
        frame,
        [(-2.1, 2.1, -0.85, 0.85, 0.3), (-2.15, 2.15, -0.88, 0.88, 0.6), (-2.0, 2.05, -0.82, 0.82, 0.95)],
        "passer-by",
        body,
    )
    mesh.hexahedron(frame, [(-1.5, 1.1, -0.76, 0.76, 0.95), (-1.1, 0.5, -0.62, 0.62, 1.45)], "passer-by", dark)
    mesh.hexahedron(frame, [(-1.12, 0.52, -0.64, 0.64, 1.44), (-1.0, 0.4, -0.55, 0.55, 1.52)], "passer-by", body)
    _wheels(mesh, frame, [-1.35, 1.35], 0.89, 0.33)


def _coach(mesh: MeshBuilder, rng: Generator, foot: Array) -> None:
    frame = LocalFrame.facing(foot, float(rng.uniform(-20, 20)))
    body = _cloth(rng)
    mesh.box(frame, (-5.5, 5.5), (0.35, 3.1), (-1.2, 1.2), "passer-by", body)
    mesh.box(frame, (-5.3, 5.52), (1.5, 2.7), (-1.22, 1.22), "passer-by", [0.04, 0.05, 0.06])
    mesh.box(frame, (-4.5, 4.0), (0.8, 1.1), (-1.23, 1.23), "passer-by", _cloth(rng))
    _wheels(mesh, frame, [-3.6, 3.4], 1.24, 0.5)


def _parasol(mesh: MeshBuilder, rng: Generator, foot: Array) -> None:
    cloth = _cloth(rng)
    for k in range(int(rng.integers(1, 4))):
        place = np.add(foot, [2.9 * k, 0, 0])
        mesh.lathe(place, [(0.04, 0), (0.04, 2.5)], "passer-by", 6, colour=[0.5, 0.5, 0.5])
        mesh.lathe(place, [(1.5, 2.1), (1.5, 2.3), (0.03, 2.9)], "passer-by", 8, 22.5, colour=cloth)
        mesh.lathe(
            np.add(place, [0.9, 0.2, 0]),
            [(0.05, 0), (0.05, 0.72), (0.4, 0.72), (0.4, 0.76), (0, 0.76)],
            "passer-by",
            8,
            colour=[0.3, 0.3, 0.32],
        )
