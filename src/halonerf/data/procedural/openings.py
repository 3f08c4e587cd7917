"""Geometry of windows, rose windows and portals in a wall's frame. Metres."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from halonerf.data.procedural.mesh import Array, LocalFrame, MeshBuilder
from halonerf.data.procedural.outline import Outline, Style, arched, circle
from halonerf.data.procedural.walls import annulus, at, band, between, prism, rectangle, reveal, wall


def window(
    mesh: MeshBuilder,
    frame: LocalFrame,
    outline: Outline,
    depth: float = 0.6,
    lights: int = 2,
    hood: float = 0.25,
    glass: str = "glass",
    concepts: Sequence[str] = (),
) -> None:
    """Add glass set back by `depth` behind mullions that divide it into `lights`, under a hood mould `hood` wide."""
    left, right, sill, top = outline.bounds
    width = right - left
    with mesh.part("window", *concepts, normal=frame.normal):
        reveal(mesh, frame, outline, 0.0, -depth, "trim")
        between(mesh, frame, outline.xs, outline.low, outline.high, -depth, glass)
        bar = min(0.22, width / (lights * 5))
        for k in range(1, lights):
            x = left + width * k / lights
            height = float(np.interp(x, outline.xs, outline.high))
            mesh.box(frame, (x - bar / 2, x + bar / 2), (sill, height), (-depth, -depth * 0.55), "trim")
        spring = float(outline.high[0])
        if lights > 1 and top - spring > width * 0.3:
            radius = width * 0.19
            annulus(
                mesh,
                frame,
                (left + width / 2, spring + (top - spring) * 0.38),
                (radius - bar, radius),
                (-depth, -depth * 0.5),
                "trim",
                16,
            )
            for k in range(lights):
                light = arched(
                    left + width * (k + 0.5) / lights,
                    sill,
                    width / lights - bar,
                    spring - width / lights * 0.6,
                    "pointed" if outline.high[1] - spring > width * 0.12 else "round",
                    10,
                )
                band(mesh, frame, light, bar * 0.8, (-depth, -depth * 0.6), "trim")
        if hood:
            band(mesh, frame, outline, hood, (0.0, 0.16), "trim")
            mesh.box(frame, (left - hood, right + hood), (sill - 0.35, sill), (-depth, 0.22), "trim")


def rose(mesh: MeshBuilder, frame: LocalFrame, outline: Outline, petals: int, depth: float = 0.8) -> None:
    """Add a round window with `petals` spokes, inner and outer rings of tracery; also a window."""
    left, right, bottom, top = outline.bounds
    centre, radius = ((left + right) / 2, (bottom + top) / 2), (right - left) / 2
    with mesh.part("rose window", "window", normal=frame.normal):
        reveal(mesh, frame, outline, 0.0, -depth, "trim")
        between(mesh, frame, outline.xs, outline.low, outline.high, -depth, "rose glass")
        face = (-depth, -depth * 0.45)
        bar = radius * 0.035
        annulus(mesh, frame, centre, (radius, radius * 1.14), (0.0, 0.22), "trim", 40)
        annulus(mesh, frame, centre, (radius * 1.14, radius * 1.22), (0.0, 0.12), "trim", 40)
        annulus(mesh, frame, centre, (radius * 0.86, radius), (-depth, -depth * 0.3), "trim", 40)
        annulus(mesh, frame, centre, (radius * 0.2, radius * 0.27), face, "trim", 20)
        for k in range(petals):
            angle = 2 * np.pi * k / petals
            direction, side = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
            ends = [np.asarray(centre) + direction * radius * r for r in (0.26, 0.9)]
            corners = [ends[0] - side * bar, ends[1] - side * bar, ends[1] + side * bar, ends[0] + side * bar]
            prism(mesh, frame, np.stack(corners), face, "trim")
            middle = np.asarray(centre) + radius * 0.68 * np.array(
                [np.cos(angle + np.pi / petals), np.sin(angle + np.pi / petals)]
            )
            size = radius * min(0.16, 0.62 * np.pi / petals)
            annulus(mesh, frame, (middle[0], middle[1]), (size * 0.72, size), face, "trim", 12)


def portal(
    mesh: MeshBuilder,
    frame: LocalFrame,
    outline: Outline,
    style: Style,
    orders: int,
    lintel: float,
    figures: bool = True,
    gable: float = 0.0,
    doors: int = 2,
) -> None:
    """Add a recessed doorway: `orders` stepped archivolts on columns, tympanum over the lintel's height, doors below.

    `gable`: height of a pointed gable (wimperg) over the arch; 0: none. The outline is the outermost opening.
    """
    left, right, floor, _ = outline.bounds
    centre, width, spring = (left + right) / 2, right - left, float(outline.high[0])
    thickness, step = width * 0.34 / max(orders, 1) / 2, 0.55
    with mesh.part("portal", normal=frame.normal):
        outer, c = outline, 0.0
        band(mesh, frame, outline, width * 0.05, (0.0, 0.25), "trim")
        for k in range(orders):
            reveal(mesh, frame, outer, c, c - step, "trim")
            c -= step
            inner = arched(centre, floor, width - 2 * thickness * (k + 1), spring, style, len(outline.xs) - 1)
            material = "carved" if k % 2 else "trim"
            mesh.strip(at(frame, outer.arch(), c), at(frame, inner.arch(), c), material)
            for side in (-1, 1):
                foot = frame.world([centre + side * (width / 2 - thickness * (k + 0.5)), floor, c + step * 0.55])
                _column(mesh, foot, spring - floor, thickness * 0.42, figures)
            outer = inner
        reveal(mesh, frame, outer, c, c - 0.5, "trim")
        c -= 0.5
        inside = outer.bounds
        tympanum = outer.above(lintel)
        between(mesh, frame, tympanum.xs, tympanum.low, tympanum.high, c, "carved")
        mesh.box(frame, (inside[0], inside[1]), (lintel - 0.45, lintel), (c, c + 0.3), "trim")
        rectangle(mesh, frame, inside[:2], (floor, lintel - 0.4), "door", c)
        for k in range(doors + 1):
            x = inside[0] + (inside[1] - inside[0]) * k / doors
            mesh.box(frame, (x - 0.16, x + 0.16), (floor, lintel - 0.4), (c, c + 0.28), "trim")
        for k in range(3):
            mesh.box(
                frame,
                (left - 0.5, right + 0.5),
                (floor - 0.18 * (k + 1), floor - 0.18 * k),
                (c, 0.35 * (k + 1)),
                "trim",
            )
        if gable:
            _gable(mesh, frame, outline, gable)


def row_of_windows(
    mesh: MeshBuilder,
    frame: LocalFrame,
    a: tuple[float, float],
    b: tuple[float, float],
    count: int,
    width: float,
    sill: float,
    spring: float,
    style: Style,
    lights: int = 2,
    depth: float = 0.6,
    glass: str = "glass",
    material: str = "wall",
) -> None:
    """Add a wall with `count` evenly spaced arched windows."""
    places = a[0] + (np.arange(count) + 0.5) * (a[1] - a[0]) / max(count, 1)
    outlines = [arched(float(x), sill, width, spring, style) for x in places]
    wall(mesh, frame, a, b, outlines, material)
    for outline in outlines:
        window(mesh, frame, outline, depth, lights, glass=glass)


def rose_in_wall(
    mesh: MeshBuilder,
    frame: LocalFrame,
    a: tuple[float, float],
    b: tuple[float, float],
    centre: tuple[float, float],
    radius: float,
    petals: int,
    material: str = "wall",
) -> None:
    """Add a wall with one rose window."""
    outline = circle(*centre, radius)
    wall(mesh, frame, a, b, [outline], material)
    rose(mesh, frame, outline, petals)


def _column(mesh: MeshBuilder, foot: Array, height: float, radius: float, figure: bool) -> None:
    base, capital = min(0.8, height * 0.12), 0.5
    mesh.lathe(
        foot,
        [
            (radius * 1.5, 0),
            (radius * 1.5, base * 0.6),
            (radius, base),
            (radius, height - capital),
            (radius * 1.6, height - 0.1),
            (radius * 1.6, height),
        ],
        "trim",
        8,
    )
    if figure:
        size = min(1.0, height * 0.16)
        body = np.array(
            [(0.2, 0), (0.34, 0.1), (0.3, 0.8), (0.36, 1.25), (0.3, 1.5), (0.1, 1.6), (0.15, 1.75), (0.0, 1.95)]
        )
        mesh.lathe(np.add(foot, [0, 0, height * 0.38]), body * size * [1, 1.1], "carved", 8)


def _gable(mesh: MeshBuilder, frame: LocalFrame, outline: Outline, height: float) -> None:
    left, right, _, top = outline.bounds
    centre, foot = (left + right) / 2, float(outline.high[0]) + (top - outline.high[0]) * 0.15
    apex = top + height
    inner, outer = (right - left) / 2 * 1.02, (right - left) / 2 * 1.14
    for side in (-1, 1):
        legs = [(centre + side * inner, foot), (centre + side * outer, foot), (centre, apex), (centre, apex - 0.9)]
        prism(mesh, frame, np.array(legs), (0.1, 0.55), "trim")
        for k in range(1, 5):
            point = np.array([centre + side * outer, foot]) * (1 - k / 5) + np.array([centre, apex]) * k / 5
            mesh.lathe(frame.world([point[0], point[1], 0.3]), [(0.05, 0), (0.24, 0.25), (0.0, 0.55)], "trim", 5)
    mesh.lathe(frame.world([centre, apex - 0.1, 0.3]), [(0.12, 0), (0.12, 0.5), (0.4, 0.7), (0.0, 1.4)], "trim", 6)
    annulus(mesh, frame, (centre, top + height * 0.32), (height * 0.1, height * 0.16), (0.0, 0.35), "trim", 14)
