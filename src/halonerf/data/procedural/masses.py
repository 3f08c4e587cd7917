"""Bodies that buildings are put together from: towers, spires, domes, roofs, buttresses, balustrades. Metres."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike

from halonerf.data.procedural.mesh import Frame, Shell
from halonerf.data.procedural.openings import row_of_windows, wall
from halonerf.data.procedural.outline import Style


def sides(x: float, y: float, half: float, z: float, count: int = 4, half_depth: float | None = None) -> list[Frame]:
    """The vertical faces of a block (or of a regular prism of `count` sides) about (x, y), front first.

    half: from the centre to a face; half_depth: the same from the centre to the front, where the block is not square.
    """
    frames = []
    for k in range(count):
        degrees = 360.0 * k / count
        angle = np.radians(degrees)
        reach_x, reach_y = half, half if half_depth is None else half_depth
        frames.append(Frame.facing([x + np.sin(angle) * reach_x, y - np.cos(angle) * reach_y, z], degrees))
    return frames


def square_tower(
    shell: Shell,
    centre: tuple[float, float],
    half: float,
    stages: Sequence[tuple[float, float]],
    style: Style,
    skip_front: int = 0,
    lights: int = 2,
    openings: int = 2,
) -> float:
    """Walls of a tower, stage by stage (bottom, top), with windows, string courses and corner buttresses.

    `skip_front`: how many of the lowest stages have their front wall built by the caller. Returns the top.
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
            row_of_windows(shell, frame, (-shrink, shrink), (bottom, top), openings, width * 0.8,
                           bottom + height * 0.16, top - height * 0.16 - width * 0.75, style, lights,
                           depth=0.9, glass="louvre" if last else "glass")  # fmt: skip
        cornice(shell, (x, y), shrink, top, 0.3, 0.5)
        for sx in (-1, 1):
            for sy in (-1, 1):
                frame = Frame.facing([x + sx * shrink, y + sy * shrink, 0.0], 0)
                size = 1.15 - 0.15 * index
                shell.hexahedron(frame, [(-size, size, -size, size, bottom), (-size, size, -size, size, top - 1.0),
                                         (-size * 0.7, size * 0.7, -size * 0.7, size * 0.7, top - 0.2)], "wall")  # fmt: skip
    return stages[-1][1]


def cornice(shell: Shell, centre: tuple[float, float], half: float, z: float, out: float, height: float,
            half_depth: float | None = None) -> None:  # fmt: skip
    """A moulding around a block, its top at z."""
    depth = half if half_depth is None else half_depth
    frame = Frame.facing([*centre, 0.0], 0)
    shell.hexahedron(frame, [(-half - s, half + s, -depth - s, depth + s, z - height + t) for s, t in
                             ((0.02, 0.0), (out * 0.6, height * 0.45), (out, height * 0.6), (out, height))], "trim")  # fmt: skip


def balustrade(shell: Shell, frame: Frame, a: tuple[float, float], z: float, height: float = 1.1) -> None:
    """Posts and a rail along a wall's top."""
    count = max(2, int((a[1] - a[0]) / 0.7))
    for x in np.linspace(a[0] + 0.1, a[1] - 0.1, count):
        shell.box(frame, (x - 0.09, x + 0.09), (z, z + height), (-0.12, 0.06), "trim")
    shell.box(frame, (a[0], a[1]), (z + height, z + height + 0.2), (-0.2, 0.14), "trim")


def pinnacle(shell: Shell, foot: ArrayLike, size: float, height: float) -> None:
    """A small turret with a pyramid, crockets and a finial."""
    base = np.asarray(foot, float)
    shaft = height * 0.45
    frame = Frame(base, np.array([1.0, 0, 0]), np.array([0, -1.0, 0]))
    shell.box(frame, (-size, size), (0, shaft), (-size, size), "trim")
    shell.lathe(base, [(size * 1.7, shaft - 0.3), (size * 1.7, shaft), (size * 1.25, shaft + 0.1), (0.05, height)],
                "trim", 4, turn=45)  # fmt: skip
    shell.lathe(base, [(0.05, height - 0.1), (size * 0.5, height + 0.1), (0.0, height + size)], "trim", 6)


def spire(shell: Shell, centre: tuple[float, float], half: float, z: float, height: float, rng: Generator,
          material: str = "roof") -> None:  # fmt: skip
    """An octagonal spire with dormers, crockets along its edges and a gilded cross; part "spire"."""
    x, y = centre
    foot = np.array([x, y, z])
    with shell.part("spire"):
        shell.lathe(foot, [(half * 1.08, 0.0), (half * 1.08, 0.6), (half, 0.8), (0.12, height)], material, 8, 22.5)
        for level in range(1, 12):
            r = half * (1 - level / 12.5) + 0.12
            for k in range(8):
                angle = np.radians(45 * k + 22.5)
                place = foot + [r * np.cos(angle), r * np.sin(angle), 0.8 + height * level / 12.5]
                shell.lathe(place, [(0.03, -0.1), (0.26, 0.15), (0.0, 0.5)], "trim", 4)
        for frame in sides(x, y, half * 0.9, z):
            shell.hexahedron(frame, [(-0.7, 0.7, -1.6, 0.25, 0.4), (-0.7, 0.7, -1.6, 0.25, 2.4),
                                     (-0.02, 0.02, -1.6, 0.25, 4.2)], "trim")  # fmt: skip
            shell.box(frame, (-0.4, 0.4), (0.8, 2.3), (0.2, 0.27), "louvre")
        cross(shell, foot + [0, 0, height - 0.2], 1.6 + rng.random())


def cross(shell: Shell, foot: ArrayLike, height: float) -> None:
    """A gilded cross on a ball."""
    frame = Frame(np.asarray(foot, float), np.array([1.0, 0, 0]), np.array([0, -1.0, 0]))
    shell.lathe(frame.origin, [(0.0, 0.0), (0.28, 0.28), (0.0, 0.56)], "gold", 8)
    shell.box(frame, (-0.07, 0.07), (0.4, height), (-0.07, 0.07), "gold")
    shell.box(frame, (-height * 0.28, height * 0.28), (height * 0.62, height * 0.62 + 0.14), (-0.07, 0.07), "gold")


def dome(
    shell: Shell,
    centre: tuple[float, float],
    radius: float,
    z: float,
    drum: float,
    windows: int,
    rng: Generator,
    style: str = "round",
    material: str = "dome",
    finial: str = "cross",
) -> float:
    """A drum with windows, a ribbed shell and a finial; part "dome", drum included. Returns the top.

    style: round (half a sphere), tall (Renaissance), onion (bulging, pointed), or melon (pointed, as in Persia).
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
    with shell.part("dome"):
        if drum:
            if windows:
                half = radius * 0.98
                facet = 2 * half * np.tan(np.pi / windows)
                for frame in sides(x, y, half, 0.0, windows):
                    row_of_windows(shell, frame, (-facet / 2, facet / 2), (z, z + drum), 1, facet * 0.42,
                                   z + drum * 0.2, z + drum * 0.8 - facet * 0.25, "round", 1, 0.4)  # fmt: skip
                    shell.box(frame, (facet / 2 - 0.18, facet / 2 + 0.18), (z, z + drum), (-0.3, 0.2), "trim")
            else:
                shell.lathe(foot, [(radius * 0.97, 0), (radius * 0.97, drum)], "wall", 24)
            shell.lathe(foot, [(radius, drum - 0.5), (radius * 1.07, drum - 0.25), (radius * 1.07, drum), (radius, drum)],
                        "trim", 32)  # fmt: skip
        shell.lathe(foot, np.stack([np.maximum(r, 0.01) * radius, drum + t * radius * rise], 1), material, 2 * fine)
        ribs = int(rng.choice([8, 12, 16])) if radius > 3.5 else 8
        for k in range(ribs):
            shell.lathe(foot, np.stack([(np.maximum(r, 0.01) * radius) * 1.012 + 0.05, drum + t * radius * rise], 1), "trim",
                        1, span=(-1.2, 1.2), turn=360 * k / ribs)  # fmt: skip
        top = z + drum + radius * rise
        scale = np.clip(radius / 8, 0.35, 1.0)
        if finial == "lantern":
            shell.lathe([x, y, top - 0.4], np.array([(1.6, 0), (1.6, 3.2), (1.9, 3.3), (1.9, 3.6), (1.3, 4.6), (0.05, 5.6)]) * scale,
                        "trim", 8)  # fmt: skip
            cross(shell, [x, y, top + 5.0 * scale], 2.0)
        elif finial == "cross":
            cross(shell, [x, y, top - 0.2], 2.0)
        else:
            crescent(shell, [x, y, top - 0.2], 2.6 * scale + 0.6)
    return top


def crescent(shell: Shell, foot: ArrayLike, height: float) -> None:
    """A gilded mast with balls and a crescent at its tip."""
    base = np.asarray(foot, float)
    shell.lathe(base, np.array([(0.12, 0), (0.12, 0.2), (0.3, 0.35), (0.12, 0.5), (0.2, 0.62), (0.05, 0.72), (0.05, 0.8)])
                * [height * 0.4, height], "gold", 8)  # fmt: skip
    angle = np.linspace(np.radians(-50), np.radians(230), 13)
    outer = np.stack([np.cos(angle), 0 * angle, np.sin(angle)], 1) * height * 0.16
    inner = outer * 0.72 + [0, 0, height * 0.035]
    centre = base + [0, 0, height * 0.95]
    shell.strip(centre + outer, centre + inner, "gold")


def gable_roof(shell: Shell, x: tuple[float, float], y: tuple[float, float], eaves: float, ridge: float,
               material: str = "roof") -> None:  # fmt: skip
    """A pitched roof whose ridge runs along y, with its gable ends."""
    middle = (x[0] + x[1]) / 2
    for edge in x:
        shell.strip([(edge, y[0], eaves), (edge, y[1], eaves)], [(middle, y[0], ridge), (middle, y[1], ridge)], material)
    for end in y:
        shell.strip([(x[0], end, eaves), (middle, end, ridge)], [(x[1], end, eaves), (middle, end, ridge)], "wall")


def hip_roof(shell: Shell, x: tuple[float, float], y: tuple[float, float], eaves: float, rise: float, share: float,
             material: str = "roof") -> None:  # fmt: skip
    """A roof that slopes on all four sides to a ridge or flat top that is `share` as wide as the building."""
    cx, cy = sum(x) / 2, sum(y) / 2
    hx, hy = (x[1] - x[0]) / 2, (y[1] - y[0]) / 2
    frame = Frame.facing([cx, cy, 0.0], 0)
    inset = min(hx, hy) * (1 - share)
    shell.hexahedron(frame, [(-hx - 0.4, hx + 0.4, -hy - 0.4, hy + 0.4, eaves),
                             (-hx + inset, hx - inset, -hy + inset, hy - inset, eaves + rise)], material)  # fmt: skip


def blind_wall(shell: Shell, frame: Frame, half: float, b: tuple[float, float]) -> None:
    """A plain wall, centred."""
    wall(shell, frame, (-half, half), b)
