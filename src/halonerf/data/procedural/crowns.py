"""Geometry of spires, domes, crosses and crescents. Metres."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike

from halonerf.data.procedural.masses import sides
from halonerf.data.procedural.mesh import LocalFrame, MeshBuilder
from halonerf.data.procedural.openings import row_of_windows


def spire(
    mesh: MeshBuilder,
    centre: tuple[float, float],
    half: float,
    z: float,
    height: float,
    rng: Generator,
    material: str = "roof",
) -> None:
    """Add an octagonal spire with dormers, crockets along its edges and a gilded cross; part "spire"."""
    x, y = centre
    foot = np.array([x, y, z])
    with mesh.part("spire"):
        mesh.lathe(foot, [(half * 1.08, 0.0), (half * 1.08, 0.6), (half, 0.8), (0.12, height)], material, 8, 22.5)
        for level in range(1, 12):
            r = half * (1 - level / 12.5) + 0.12
            for k in range(8):
                angle = np.radians(45 * k + 22.5)
                place = np.add(foot, [r * np.cos(angle), r * np.sin(angle), 0.8 + height * level / 12.5])
                mesh.lathe(place, [(0.03, -0.1), (0.26, 0.15), (0.0, 0.5)], "trim", 4)
        for frame in sides(x, y, half * 0.9, z):
            mesh.hexahedron(
                frame,
                [(-0.7, 0.7, -1.6, 0.25, 0.4), (-0.7, 0.7, -1.6, 0.25, 2.4), (-0.02, 0.02, -1.6, 0.25, 4.2)],
                "trim",
            )
            mesh.box(frame, (-0.4, 0.4), (0.8, 2.3), (0.2, 0.27), "louvre")
        cross(mesh, np.add(foot, [0, 0, height - 0.2]), 1.6 + rng.random())


def cross(mesh: MeshBuilder, foot: ArrayLike, height: float) -> None:
    """Add a gilded cross on a ball."""
    frame = LocalFrame(np.asarray(foot, float), np.array([1.0, 0, 0]), np.array([0, -1.0, 0]))
    mesh.lathe(frame.origin, [(0.0, 0.0), (0.28, 0.28), (0.0, 0.56)], "gold", 8)
    mesh.box(frame, (-0.07, 0.07), (0.4, height), (-0.07, 0.07), "gold")
    mesh.box(frame, (-height * 0.28, height * 0.28), (height * 0.62, height * 0.62 + 0.14), (-0.07, 0.07), "gold")


def dome(
    mesh: MeshBuilder,
    centre: tuple[float, float],
    radius: float,
    z: float,
    drum: float,
    windows: int,
    rng: Generator,
    style: str = "round",
    material: str = "dome",
    finial: str = "mast",
) -> float:
    """Add a drum with windows, a ribbed vault and a finial, together the part "dome"; the height of the top.

    style: round (half a sphere), tall (Renaissance), onion (bulging, pointed), or melon (pointed, as in Persia).
    finial: lantern (with a cross), crescent, or mast.
    """
    x, y = centre
    foot = np.array([x, y, z])
    profiles = {"round": (1.0, 0.0), "tall": (1.3, 0.0), "onion": (1.75, 0.22), "melon": (1.35, 0.07)}
    rise, bulge = profiles[style]
    fine = 20 if radius > 3.5 else 12
    t = np.linspace(0.0, 1.0, fine)
    r = np.sqrt(np.maximum(1 - t**2.1, 0)) + bulge * np.sin(np.pi * np.minimum(t / 0.62, 1.0)) * (1 - t)
    if style in ("onion", "melon"):
        r = np.where(t > 0.6, np.interp(t, [0.6, 0.8, 1.0], [np.interp(0.6, t, r), 0.34, 0.02]), r)
    with mesh.part("dome"):
        if drum:
            if windows:
                half = radius * 0.98
                facet = 2 * half * np.tan(np.pi / windows)
                for frame in sides(x, y, half, 0.0, windows):
                    row_of_windows(
                        mesh,
                        frame,
                        (-facet / 2, facet / 2),
                        (z, z + drum),
                        1,
                        facet * 0.42,
                        z + drum * 0.2,
                        z + drum * 0.8 - facet * 0.25,
                        "round",
                        1,
                        0.4,
                    )
                    mesh.box(frame, (facet / 2 - 0.18, facet / 2 + 0.18), (z, z + drum), (-0.3, 0.2), "trim")
            else:
                mesh.lathe(foot, [(radius * 0.97, 0), (radius * 0.97, drum)], "wall", 24)
            mesh.lathe(
                foot,
                [(radius, drum - 0.5), (radius * 1.07, drum - 0.25), (radius * 1.07, drum), (radius, drum)],
                "trim",
                32,
            )
        mesh.lathe(foot, np.stack([np.maximum(r, 0.01) * radius, drum + t * radius * rise], 1), material, 2 * fine)
        ribs = int(rng.choice([8, 12, 16])) if radius > 3.5 else 8
        for k in range(ribs):
            mesh.lathe(
                foot,
                np.stack([(np.maximum(r, 0.01) * radius) * 1.012 + 0.05, drum + t * radius * rise], 1),
                "trim",
                1,
                span=(-1.2, 1.2),
                turn=360 * k / ribs,
            )
        top = z + drum + radius * rise
        scale = np.clip(radius / 8, 0.35, 1.0)
        if finial == "lantern":
            lantern = np.array([(1.6, 0), (1.6, 3.2), (1.9, 3.3), (1.9, 3.6), (1.3, 4.6), (0.05, 5.6)]) * scale
            mesh.lathe([x, y, top - 0.4], lantern, "trim", 8)
            cross(mesh, [x, y, top + 5.0 * scale], 2.0)
        elif finial == "crescent":
            crescent(mesh, [x, y, top - 0.2], 2.6 * scale + 0.6)
        else:
            mast(mesh, [x, y, top - 0.2], 2.6 * scale + 0.6)
    return top


def mast(mesh: MeshBuilder, foot: ArrayLike, height: float) -> None:
    """Add a gilded mast with balls."""
    base = np.asarray(foot, float)
    mesh.lathe(
        base,
        np.array([(0.12, 0), (0.12, 0.2), (0.3, 0.35), (0.12, 0.5), (0.2, 0.62), (0.05, 0.72), (0.05, 0.8)])
        * [height * 0.4, height],
        "gold",
        8,
    )


def crescent(mesh: MeshBuilder, foot: ArrayLike, height: float) -> None:
    """Add a mast with a crescent at its tip, open upwards."""
    mast(mesh, foot, height)
    angle = np.linspace(np.radians(130), np.radians(410), 13)
    outer = np.stack([np.cos(angle), 0 * angle, np.sin(angle)], 1) * height * 0.16
    inner = outer * 0.72 + [0, 0, height * 0.035]
    centre = np.add(foot, [0, 0, height * 0.95])
    mesh.strip(centre + outer, centre + inner, "gold")
