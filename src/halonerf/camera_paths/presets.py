"""Ready camera paths, from the photos' cameras alone: a flight from photo to photo, an orbit, a spiral.

They stay where photographers stood, and where the points of the reconstruction leave room: a landmark that is
photographed from one side is not filmed from behind, nor from within its walls.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components, shortest_path
from torch import Tensor

from halonerf.camera_paths.path import CameraPath, KeyFrame
from halonerf.camera_paths.sites import Sites
from halonerf.types import View

Array = NDArray[np.float64]
STOPS = 8  # photos that a flight is drawn through; it passes others where the way asks for it
SWING = math.radians(75)  # the most that a flight turns from one photo to the next
GAP = math.radians(45)  # an orbit goes on over a stretch without photos up to here
FARTHER = 1.7  # times as far away as most, or as near: such photos are no part of an orbit
WIDEST = math.radians(80)  # of an orbit
LEAST_ARC = math.radians(16)  # of an orbit, however close together the photos are
TURN = 24  # key-frames of a spiral; an orbit has as many in a full circle


def fly_through(
    views: Sequence[View], points: Tensor, names: Sequence[str] | None = None, seconds: float = 10.0
) -> CameraPath:
    """From photo to photo, each after its nearest, close-ups left out.

    views: the photos', whole, at least one. points: [N, 3] of the reconstruction, world units; none will do. names: of
    the photos, whose light each key-frame then has. seconds: from end to end.

    A step is as long as its distance in units of that to what is photographed, plus its turn in radians, plus the
    logarithm of its zoom. Photos that stand at one place make a spiral.
    """
    sites = Sites(views, points).without_close_ups()
    way = _tour(sites) if len(sites) > 1 else []
    if len(way) < 2:
        return spiral(views, points, names, seconds)
    steps = np.array([sites.steps[a, b] for a, b in pairwise(way)])
    steps = np.maximum(steps, 0.3 * steps.mean())
    times = [*(seconds * steps / steps.sum()), 1.0]
    return CameraPath(
        tuple(
            KeyFrame(sites.views[i].camera_to_world, sites.fovs[i], _light(names, sites.numbers[i]), seconds=float(s))
            for i, s in zip(way, times, strict=True)
        ),
        aspect=sites.aspect,
    )


def orbit(
    views: Sequence[View], points: Tensor, names: Sequence[str] | None = None, seconds: float = 10.0
) -> CameraPath:
    """Around what the photos look at, over the longest arc that photos cover; arguments as of `fly_through`.

    The camera is as far away and as high as the photos at about the same angle, and shows as much as most do. It is a
    loop where photos stand all around. The light is the mean: no key-frame is a photo.
    """
    sites = Sites(views, points)
    focus, up = sites.focus(), sites.up
    east = np.cross(up, [1.0, 0.0, 0.0] if abs(up[0]) < 0.8 else [0.0, 1.0, 0.0])
    east /= np.linalg.norm(east)
    north = np.cross(up, east)
    offsets = sites.centres - focus
    looking = (sites.axes * -offsets).sum(axis=1) > 0.5 * np.linalg.norm(offsets, axis=1)
    away = np.linalg.norm(offsets - np.outer(offsets @ up, up), axis=1)
    usual = float(np.median(away[looking] if looking.any() else away))
    near = looking & (away < FARTHER * usual) & (away * FARTHER > usual)
    chosen = np.flatnonzero(near if near.any() else np.ones(len(sites)))
    angles = np.arctan2(offsets[chosen] @ north, offsets[chosen] @ east)
    start, arc, loop = _covered(angles)
    count = max(5, round(TURN * arc / math.tau)) if not loop else TURN
    radius, height = away[chosen], (offsets @ up)[chosen]
    half = float(np.median(sites.without_close_ups().heights))
    keys = []
    for angle in start + arc * np.arange(count) / (count if loop else count - 1):
        turned = np.abs(np.angle(np.exp(1j * (angles - angle))))
        weight = np.exp(-0.5 * (turned / max(arc / 8, math.radians(8))) ** 2) + 1e-9
        place = focus + up * np.average(height, weights=weight)
        place = place + (math.cos(angle) * east + math.sin(angle) * north) * np.average(radius, weights=weight)
        place = sites.nearer_until_free(place, int(chosen[turned.argmin()]))
        fov = min(2 * math.atan(half / float(np.linalg.norm(place - focus))), WIDEST)
        keys.append(KeyFrame(_looking(place, focus, up), fov, seconds=seconds / (count if loop else count - 1)))
    return CameraPath(tuple(keys), loop, aspect=sites.aspect)


def spiral(
    views: Sequence[View], points: Tensor, names: Sequence[str] | None = None, seconds: float = 10.0
) -> CameraPath:
    """Two small turns around the most typical photo that looks where most do, a little to and fro meanwhile; a loop.

    Arguments as of `fly_through`; the light is that photo's. After the test paths of LLFF (Mildenhall et al., 2019),
    which turn around the mean of all cameras: of photos from all sides, that stands inside the building.
    """
    sites = Sites(views, points).without_close_ups()
    aims = sites.focus() - sites.centres
    aside = np.arccos(np.clip((sites.axes * aims).sum(axis=1) / np.linalg.norm(aims, axis=1).clip(1e-9), -1, 1))
    base = int((sites.steps.mean(axis=1) + 2 * aside).argmin())
    pose = sites.views[base].camera_to_world.double().numpy()
    depth = float(sites.depths[base])
    spread = np.median(np.abs((sites.centres - sites.centres[base]) @ pose[:, :3]), axis=0)
    size = np.clip(spread, 0.03 * depth, 0.1 * depth) * [1.0, 1.0, 0.5]
    size *= min(1.0, 0.6 * sites.room(sites.centres[base : base + 1])[0] / float(np.linalg.norm(size)))
    target = pose[:, 3] + depth * pose[:, 2]
    keys = []
    for angle in 2 * math.tau * np.arange(TURN) / TURN:
        offset = size * [math.cos(angle), -math.sin(angle), -math.sin(angle / 2)]
        place = pose[:, :3] @ offset + pose[:, 3]
        light = _light(names, sites.numbers[base])
        keys.append(KeyFrame(_looking(place, target, -pose[:, 1]), sites.fovs[base], light, seconds=seconds / TURN))
    return CameraPath(tuple(keys), loop=True, aspect=sites.aspect)


DEFAULT: dict[str, Callable[..., CameraPath]] = {"fly_through": fly_through, "orbit": orbit, "spiral": spiral}


def _tour(sites: Sites) -> list[int]:
    """Numbers of the photos that a flight passes, in order."""
    steps = np.where((sites.turns < SWING) & sites.free(), sites.steps, np.inf)
    np.fill_diagonal(steps, 0.0)
    graph = np.where(np.isfinite(steps), np.maximum(steps, 1e-9), 0.0)
    _, group = connected_components(graph, directed=False)
    kept = np.flatnonzero(group == np.bincount(group).argmax())
    far, before = shortest_path(graph, directed=False, return_predecessors=True)
    stops = [int(kept[far[kept][:, kept].sum(axis=1).argmin()])]
    while len(stops) < min(STOPS, len(kept)):
        stops.append(int(kept[far[stops][:, kept].min(axis=0).argmax()]))
    order = _travelling(far[stops][:, stops])
    way = [stops[order[0]]]
    for place in order[1:]:
        leg = [stops[place]]
        while leg[-1] != way[-1]:
            leg.append(int(before[way[-1], leg[-1]]))
        way += leg[-2::-1]
    return [place for i, place in enumerate(way) if i == 0 or place != way[i - 1]]


def _travelling(far: Array) -> list[int]:
    """A short way through all places: to the nearest from each start, then turned round wherever that shortens it."""
    best: tuple[float, list[int]] = (math.inf, [])
    for start in range(len(far)):
        way = [start]
        while len(way) < len(far):
            way.append(min(set(range(len(far))) - set(way), key=lambda i: float(far[way[-1], i])))
        length, shorter = _length(far, way), True
        while shorter:
            shorter = False
            for i in range(len(way) - 1):
                for j in range(i + 2, len(way) + 1):
                    other = [*way[:i], *way[i:j][::-1], *way[j:]]
                    if _length(far, other) < length - 1e-9:
                        way, length, shorter = other, _length(far, other), True
        best = min(best, (length, way))
    return best[1]


def _length(far: Array, way: list[int]) -> float:
    return float(far[way[:-1], way[1:]].sum())


def _covered(angles: Array) -> tuple[float, float, bool]:
    """Where the arc starts that holds the most angles without a gap, how long it is, and whether it is a circle."""
    turns = np.sort(angles)
    gaps = np.diff(np.append(turns, turns[0] + math.tau))
    if (gaps < GAP).all():
        return float(turns[0]), math.tau, True
    first = int(gaps.argmax()) + 1
    turns = np.concatenate([turns[first:], turns[:first] + math.tau])
    groups = np.split(turns, np.flatnonzero(np.diff(turns) >= GAP) + 1)
    most = max(groups, key=lambda group: (len(group), group[-1] - group[0]))
    low, high = np.percentile(most, [3, 97])
    arc = max(float(high - low), LEAST_ARC)
    return float((low + high) / 2 - arc / 2), arc, False


def _looking(place: Array, target: Array, up: Array) -> Tensor:
    """A camera [3, 4] at a place that looks at another, upright."""
    forward = target - place
    forward = forward / max(float(np.linalg.norm(forward)), 1e-9)
    right = np.cross(-up, forward)
    right = right / max(float(np.linalg.norm(right)), 1e-9)
    return torch.from_numpy(np.stack([right, np.cross(forward, right), forward, place], axis=1)).float()


def _light(names: Sequence[str] | None, number: int) -> str:
    return names[number] if names is not None else "mean"
