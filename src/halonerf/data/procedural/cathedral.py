"""Geometry of a Gothic cathedral: two-towered west front, nave, transept, apse; random by seed. Metres."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from halonerf.data.procedural.crowns import dome, spire
from halonerf.data.procedural.masses import balustrade, cornice, gable_roof, pinnacle, sides, square_tower
from halonerf.data.procedural.mesh import LocalFrame, MeshBuilder
from halonerf.data.procedural.openings import portal, rose_in_wall, row_of_windows, window
from halonerf.data.procedural.outline import Style, arched
from halonerf.data.procedural.walls import wall


def cathedral(mesh: MeshBuilder, rng: Generator) -> None:
    """Add the building, with its west front in the plane y = 0, centred on x = 0, on the ground z = 0."""
    style: Style = "pointed" if rng.random() < 0.75 else "round"
    nave, tower = rng.uniform(6.0, 8.0), rng.uniform(4.2, 5.4)
    portals = rng.uniform(11.0, 13.5)
    gallery = portals + rng.uniform(2.6, 3.4)
    radius = nave * rng.uniform(0.6, 0.74)
    rose_top = gallery + 2 * radius + 3.0
    top = rose_top + rng.uniform(8.0, 14.0)
    offset = nave + tower
    petals = int(rng.choice([8, 12, 16]))
    _centre_bay(mesh, rng, style, nave, portals, gallery, rose_top, radius, petals)
    heights = top + np.where(rng.random() < 0.3, rng.uniform(-6, 6, 2), 0.0)
    crowned = rng.random()
    tall = rng.uniform(14, 22)
    for side in (-1, 1):
        height = float(heights[(side + 1) // 2])
        with mesh.part("tower"):
            _tower_front(mesh, style, side * offset, tower, portals, gallery)
            stages = [(0.0, portals), (portals, gallery), (gallery, rose_top), (rose_top, height)]
            square_tower(mesh, (side * offset, tower), tower, stages, style, skip_front=2)
            inner = tower - 0.75
            for frame in sides(side * offset, tower, inner, 0.0):
                balustrade(mesh, frame, (-inner, inner), height)
            for sx in (-1, 1):
                for sy in (-1, 1):
                    pinnacle(mesh, [side * offset + sx * inner, tower + sy * inner, height], 0.55, 5.5)
            mesh.box(
                LocalFrame.facing([side * offset, tower, 0], 0),
                (-inner, inner),
                (height - 0.3, height),
                (-inner, inner),
                "roof",
            )
        if crowned < 0.7 and not (crowned < 0.12 and side > 0):
            spire(mesh, (side * offset, tower), inner * 0.86, height, tall, rng, "trim" if crowned < 0.35 else "roof")
    _nave(mesh, rng, style, nave, tower, rose_top)


def _centre_bay(
    mesh: MeshBuilder,
    rng: Generator,
    style: Style,
    nave: float,
    portals: float,
    gallery: float,
    rose_top: float,
    radius: float,
    petals: int,
) -> None:
    front = LocalFrame.facing([0, 0, 0], 0)
    width = nave * 1.18
    door = arched(0.0, 0.7, width, portals * 0.46 if style == "pointed" else portals * 0.42, style, 20)
    wall(mesh, front, (-nave, nave), (0.0, portals), [door])
    portal(mesh, front, door, style, int(rng.integers(4, 6)), portals * 0.45, gable=portals * 0.24)
    count = int(rng.integers(7, 11))
    _gallery(mesh, front, (-nave, nave), portals, gallery, count, style)
    rose_in_wall(mesh, front, (-nave, nave), (gallery, rose_top), (0.0, gallery + radius + 1.4), radius, petals)
    mesh.box(front, (-nave, nave), (rose_top - 0.4, rose_top), (-0.2, 0.4), "trim")
    count = int(rng.integers(4, 8))
    peak = rose_top + nave * 0.9
    row_of_windows(
        mesh,
        front.moved(c=-0.6),
        (-nave * 0.62, nave * 0.62),
        (rose_top, rose_top + 4.4),
        count,
        nave * 0.8 / count,
        rose_top + 0.8,
        rose_top + 3.2,
        style,
        1,
        glass="louvre",
    )
    slope = np.array([(-nave, rose_top, 0.1), (0, peak + 1.5, 0.1), (nave, rose_top, 0.1)])
    mesh.strip(front.world(slope), front.world(np.add(slope, [0, 0.8, 0])), "trim")
    mesh.strip(front.world(slope), front.world(np.add(slope, [0, 0, -0.8])), "trim")
    mesh.strip(front.world(np.add(slope, [0, 0.8, 0])), front.world(np.add(slope, [0, 0.8, -0.8])), "trim")
    flat = front.world(np.add(slope, [0, 0, -0.75]))
    mesh.add([flat], "wall")
    balustrade(mesh, front, (-nave, nave), rose_top)
    for x in (-nave, nave):
        for z0, z1, out in ((0.0, portals, 1.7), (portals, gallery, 1.4), (gallery, rose_top, 1.1)):
            mesh.hexahedron(
                front,
                [
                    (x - 0.9, x + 0.9, -0.5, out, z0),
                    (x - 0.9, x + 0.9, -0.5, out, z1 - 1.4),
                    (x - 0.9, x + 0.9, -0.5, out - 0.3, z1),
                ],
                "wall",
            )
        pinnacle(mesh, front.world([x, rose_top, 0.3]), 0.6, 6.0)


def _gallery(
    mesh: MeshBuilder, frame: LocalFrame, a: tuple[float, float], bottom: float, top: float, count: int, style: Style
) -> None:
    """Add a row of niches with statues of kings between two string courses."""
    step = (a[1] - a[0]) / count
    outlines = [
        arched(a[0] + (k + 0.5) * step, bottom + 0.35, step * 0.72, top - 0.5 - step * 0.62, style, 10)
        for k in range(count)
    ]
    wall(mesh, frame, a, (bottom, top), outlines)
    for outline in outlines:
        left, right, sill, _ = outline.bounds
        mesh.box(frame, (left, right), (sill - 0.02, top - 0.35), (-0.8, -0.7), "wall")
        mesh.box(frame, (left, right), (sill - 0.02, sill), (-0.8, 0.0), "trim")
        size = (top - bottom) * 0.36
        body = np.array(
            [(0.22, 0), (0.34, 0.1), (0.28, 0.8), (0.36, 1.25), (0.3, 1.5), (0.1, 1.6), (0.15, 1.75), (0, 1.95)]
        )
        mesh.lathe(frame.world([(left + right) / 2, sill, -0.35]), body * size, "carved", 9)
        for x in (left - step * 0.14, right + step * 0.14):
            mesh.lathe(
                frame.world([x, sill, 0.1]),
                [(0.16, 0), (0.1, 0.2), (0.1, top - bottom - 1.3), (0.18, top - bottom - 1.1)],
                "trim",
                7,
            )
    for z in (bottom, top):
        mesh.box(frame, a, (z - 0.25, z + 0.25), (-0.1, 0.45), "trim")


def _tower_front(mesh: MeshBuilder, style: Style, x: float, half: float, portals: float, gallery: float) -> None:
    front = LocalFrame.facing([x, 0, 0], 0)
    door = arched(0.0, 0.7, half * 1.15, portals * 0.42, style, 16)
    wall(mesh, front, (-half, half), (0.0, portals), [door])
    portal(mesh, front, door, style, 3, portals * 0.40, gable=portals * 0.2)
    _gallery(mesh, front.moved(c=-0.25), (-half, half), portals, gallery, 5, style)


def _nave(mesh: MeshBuilder, rng: Generator, style: Style, nave: float, tower: float, height: float) -> None:
    bays = int(rng.integers(5, 8))
    step = rng.uniform(6.0, 7.0)
    start, aisle = 2 * tower, tower * 1.5
    low, length = height * 0.42, bays * step
    end = start + length
    for side in (-1, 1):
        face = 90 * side
        for wall_x, z0, z1, count_lights in ((nave + aisle, 0.0, low, 2), (nave, low, height, 3)):
            frame = LocalFrame.facing([side * wall_x, start + length / 2, 0], face)
            span = z1 - z0
            row_of_windows(
                mesh,
                frame,
                (-length / 2, length / 2),
                (z0, z1),
                bays,
                step * 0.42,
                z0 + span * 0.22,
                z1 - span * 0.16 - step * 0.36,
                style,
                count_lights,
            )
            mesh.box(frame, (-length / 2, length / 2), (z1 - 0.5, z1), (-0.2, 0.5), "trim")
        mesh.strip(
            [(side * (nave + aisle + 0.5), start, low), (side * (nave + aisle + 0.5), end, low)],
            [(side * nave, start, low + 3.0), (side * nave, end, low + 3.0)],
            "roof",
        )
        for k in range(bays + 1):
            y = start + k * step
            post = LocalFrame.facing([side * (nave + aisle), y, 0], face)
            mesh.hexahedron(
                post,
                [(-0.7, 0.7, -0.4, 2.4, 0), (-0.7, 0.7, -0.4, 2.0, low * 0.6), (-0.7, 0.7, -0.4, 1.6, low + 3.5)],
                "wall",
            )
            pinnacle(mesh, post.world([0, low + 3.5, 0.6]), 0.55, 4.5)
            t = np.linspace(0, 1, 9)
            arc = np.stack(
                [0 * t, low + 1.0 + (height * 0.84 - low - 1.0) * np.sqrt(1 - (1 - t) ** 2), 0.4 - t * aisle], 1
            )
            for a in (-0.35, 0.35):
                mesh.strip(post.world(np.add(arc, [a, 0, 0])), post.world(np.add(arc, [a, 0.9 + 0, 0])), "trim")
            for rise in (0.0, 0.9):
                mesh.strip(post.world(np.add(arc, [-0.35, rise, 0])), post.world(np.add(arc, [0.35, rise, 0])), "trim")
    ridge = height + nave * 0.95
    gable_roof(mesh, (-nave - 0.5, nave + 0.5), (2.0, end + 14), height, ridge)
    _transept(mesh, rng, style, nave, aisle, end, height, ridge)
    mesh.lathe([0, end + 14, 0], [(nave, 0), (nave, height), (nave + 0.4, height + 0.3), (0.1, ridge)], "wall", 12)


def _transept(
    mesh: MeshBuilder, rng: Generator, style: Style, nave: float, aisle: float, end: float, height: float, ridge: float
) -> None:
    middle, half, reach = end + 7.0, 7.0, nave + aisle + 5.0
    for side in (-1, 1):
        face = LocalFrame.facing([side * reach, middle, 0], 90 * side)
        radius = half * 0.5
        door = arched(0, 0.6, 5.0, 5.5, style)
        wall(mesh, face, (-half, half), (0, 11.5), [door])
        portal(mesh, face, door, style, 3, 5.4)
        rose_in_wall(mesh, face, (-half, half), (11.5, height), (0, height * 0.5 + 6.0), radius, 12)
        tip = face.world([(-half, height, 0), (half, height, 0), (0, ridge, 0)])
        mesh.add([tip], "wall")
        for turn, sign in ((0, -1), (180, 1)):
            flank = LocalFrame.facing([side * (nave + reach) / 2, middle + sign * half, 0], turn)
            span = (reach - nave) / 2
            outline = arched(0, height * 0.5, 2.6, height * 0.78, style)
            wall(mesh, flank, (-span, span), (0, height), [outline])
            window(mesh, flank, outline)
        for y in (middle - half, middle + half):
            mesh.strip(
                [(side * (nave - 3), y, height), (side * reach, y, height)],
                [(side * (nave - 3), middle, ridge), (side * reach, middle, ridge)],
                "roof",
            )
        for y in (middle - half, middle + half):
            pinnacle(mesh, [side * reach, y, height - 1], 0.8, 7)
    crossing = rng.random()
    if crossing < 0.55:
        spire(mesh, (0.0, middle), 2.2, ridge - 2.5, rng.uniform(16, 24), rng, "roof")
    else:
        mesh.box(LocalFrame.facing([0, middle, 0], 0), (-nave, nave), (height - 2, ridge + 0.5), (-nave, nave), "wall")
        cornice(mesh, (0.0, middle), nave, ridge + 0.5, 0.4, 0.6)
        dome(
            mesh,
            (0.0, middle),
            nave * 0.93,
            ridge + 0.5,
            5.0,
            12,
            rng,
            "tall" if crossing < 0.8 else "round",
            finial="lantern",
        )
