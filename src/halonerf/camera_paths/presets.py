"""Preset camera paths computed from the photos' cameras: a flight from photo to photo, an orbit, a spiral.

The paths stay near the photos' positions and clear of the reconstruction's points: a landmark that is photographed from
one side is not filmed from behind, nor from within its walls.
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
MAX_STOPS = 8  # photos that a flight is planned through; it passes further photos that lie on the way
MAX_TURN = math.radians(75)  # of a flight from one photo to the next
MAX_GAP = math.radians(45)  # without photos within the arc of an orbit
MAX_DISTANCE_RATIO = 1.7  # to the median distance, or its inverse, of a photo that counts for an orbit
MAX_ORBIT_FOV = math.radians(80)
MIN_ORBIT_ARC = math.radians(16)  # however close together the photos are
TURN_KEYFRAMES = 24  # of a turn of a spiral, and of a full orbit


def fly_through(
    views: Sequence[View], points: Tensor, names: Sequence[str] | None = None, seconds: float = 10.0
) -> CameraPath:
    """A flight from photo to photo along a short route, without close-ups.

    Args:
        views: of the photos, uncropped, at least one.
        points: [N, 3] of the reconstruction, world units; N may be 0.
        names: of the photos; each key-frame has the appearance of its photo. None: the mean appearance.
        seconds: duration.

    The time between two photos is proportional to their distance `Sites.distances`. Photos from a single position give
    a spiral.
    """
    sites = Sites(views, points).without_close_ups()
    route = _plan_route(sites) if len(sites) > 1 else []
    if len(route) < 2:
        return spiral(views, points, names, seconds)
    lengths = np.array([sites.distances[a, b] for a, b in pairwise(route)])
    lengths = np.maximum(lengths, 0.3 * lengths.mean())
    times = [*(seconds * lengths / lengths.sum()), 1.0]
    return CameraPath(
        tuple(
            KeyFrame(sites.views[i].camera_to_world, sites.fovs[i], _name(names, sites.indices[i]), seconds=float(s))
            for i, s in zip(route, times, strict=True)
        ),
        aspect=sites.aspect,
    )


def orbit(
    views: Sequence[View], points: Tensor, names: Sequence[str] | None = None, seconds: float = 10.0
) -> CameraPath:
    """An orbit around the focus of the photos, over the longest arc with photos; arguments as in `fly_through`.

    Distance and height follow those of the photos at similar angles, and the field of view shows as much as the median
    photo. It is a loop where photos stand all around. The appearance is the mean: no key-frame is a photo.
    """
    sites = Sites(views, points)
    focus, up = sites.focus(), sites.up
    east = np.cross(up, [1.0, 0.0, 0.0] if abs(up[0]) < 0.8 else [0.0, 1.0, 0.0])
    east /= np.linalg.norm(east)
    north = np.cross(up, east)
    offsets = sites.centres - focus
    facing = (sites.axes * -offsets).sum(axis=1) > 0.5 * np.linalg.norm(offsets, axis=1)
    radii = np.linalg.norm(offsets - np.outer(offsets @ up, up), axis=1)
    median = float(np.median(radii[facing] if facing.any() else radii))
    similar = facing & (radii < MAX_DISTANCE_RATIO * median) & (radii * MAX_DISTANCE_RATIO > median)
    chosen = np.flatnonzero(similar if similar.any() else np.ones(len(sites)))
    angles = np.arctan2(offsets[chosen] @ north, offsets[chosen] @ east)
    start, arc, loop = _longest_arc(angles)
    count = max(5, round(TURN_KEYFRAMES * arc / math.tau)) if not loop else TURN_KEYFRAMES
    radii, heights = radii[chosen], (offsets @ up)[chosen]
    half_height = float(np.median(sites.without_close_ups().heights))
    keys = []
    for angle in start + arc * np.arange(count) / (count if loop else count - 1):
        difference = np.abs(np.angle(np.exp(1j * (angles - angle))))
        weight = np.exp(-0.5 * (difference / max(arc / 8, math.radians(8))) ** 2) + 1e-9
        position = focus + up * np.average(heights, weights=weight)
        position = position + (math.cos(angle) * east + math.sin(angle) * north) * np.average(radii, weights=weight)
        position = sites.pull_back(position, int(chosen[difference.argmin()]))
        fov = min(2 * math.atan(half_height / float(np.linalg.norm(position - focus))), MAX_ORBIT_FOV)
        keys.append(KeyFrame(_look_at(position, focus, up), fov, seconds=seconds / (count if loop else count - 1)))
    return CameraPath(tuple(keys), loop, aspect=sites.aspect)


def spiral(
    views: Sequence[View], points: Tensor, names: Sequence[str] | None = None, seconds: float = 10.0
) -> CameraPath:
    """A loop of two small turns, with some motion in depth, around the most typical photo that faces the focus.

    Arguments as in `fly_through`; the appearance is that photo's. After the test paths of LLFF (Mildenhall et al.,
    2019), which turn around the mean of all cameras: with photos from all sides, the mean lies inside the building.
    """
    sites = Sites(views, points).without_close_ups()
    aims = sites.focus() - sites.centres
    off_axis = np.arccos(np.clip((sites.axes * aims).sum(axis=1) / np.linalg.norm(aims, axis=1).clip(1e-9), -1, 1))
    base = int((sites.distances.mean(axis=1) + 2 * off_axis).argmin())
    pose = sites.views[base].camera_to_world.double().numpy()
    depth = float(sites.depths[base])
    spread = np.median(np.abs((sites.centres - sites.centres[base]) @ pose[:, :3]), axis=0)
    size = np.clip(spread, 0.03 * depth, 0.1 * depth) * [1.0, 1.0, 0.5]
    size *= min(1.0, 0.6 * sites.clearance(sites.centres[base : base + 1])[0] / float(np.linalg.norm(size)))
    target = pose[:, 3] + depth * pose[:, 2]
    keys = []
    for angle in 2 * math.tau * np.arange(TURN_KEYFRAMES) / TURN_KEYFRAMES:
        offset = size * [math.cos(angle), -math.sin(angle), -math.sin(angle / 2)]
        pose_at = _look_at(pose[:, :3] @ offset + pose[:, 3], target, -pose[:, 1])
        name = _name(names, sites.indices[base])
        keys.append(KeyFrame(pose_at, sites.fovs[base], name, seconds=seconds / TURN_KEYFRAMES))
    return CameraPath(tuple(keys), loop=True, aspect=sites.aspect)


PRESETS: dict[str, Callable[..., CameraPath]] = {"fly_through": fly_through, "orbit": orbit, "spiral": spiral}


def _plan_route(sites: Sites) -> list[int]:
    """The photos that a flight passes, in order: farthest-point stops, joined by shortest paths without obstacles."""
    lengths = np.where((sites.angles < MAX_TURN) & sites.unobstructed(), sites.distances, np.inf)
    np.fill_diagonal(lengths, 0.0)
    graph = np.where(np.isfinite(lengths), np.maximum(lengths, 1e-9), 0.0)
    _, group = connected_components(graph, directed=False)
    largest = np.flatnonzero(group == np.bincount(group).argmax())
    distance, before = shortest_path(graph, directed=False, return_predecessors=True)
    stops = [int(largest[distance[largest][:, largest].sum(axis=1).argmin()])]
    while len(stops) < min(MAX_STOPS, len(largest)):
        stops.append(int(largest[distance[stops][:, largest].min(axis=0).argmax()]))
    order = _short_tour(distance[stops][:, stops])
    route = [stops[order[0]]]
    for stop in order[1:]:
        leg = [stops[stop]]
        while leg[-1] != route[-1]:
            leg.append(int(before[route[-1], leg[-1]]))
        route += leg[-2::-1]
    return [photo for i, photo in enumerate(route) if i == 0 or photo != route[i - 1]]


def _short_tour(distance: Array) -> list[int]:
    """A short open tour through all nodes: the best nearest-neighbour tour of all starts, improved by 2-opt moves."""
    best: tuple[float, list[int]] = (math.inf, [])
    for start in range(len(distance)):
        tour = [start]
        while len(tour) < len(distance):
            tour.append(min(set(range(len(distance))) - set(tour), key=lambda i: float(distance[tour[-1], i])))
        length, improved = _length(distance, tour), True
        while improved:
            improved = False
            for i in range(len(tour) - 1):
                for j in range(i + 2, len(tour) + 1):
                    other = [*tour[:i], *tour[i:j][::-1], *tour[j:]]
                    if _length(distance, other) < length - 1e-9:
                        tour, length, improved = other, _length(distance, other), True
        best = min(best, (length, tour))
    return best[1]


def _length(distance: Array, tour: list[int]) -> float:
    return float(distance[tour[:-1], tour[1:]].sum())


def _longest_arc(angles: Array) -> tuple[float, float, bool]:
    """Start and length, radians, of the arc that holds the most angles without a gap, and whether it is a circle."""
    ordered = np.sort(angles)
    gaps = np.diff(np.append(ordered, ordered[0] + math.tau))
    if (gaps < MAX_GAP).all():
        return float(ordered[0]), math.tau, True
    first = int(gaps.argmax()) + 1
    ordered = np.concatenate([ordered[first:], ordered[:first] + math.tau])
    groups = np.split(ordered, np.flatnonzero(np.diff(ordered) >= MAX_GAP) + 1)
    largest = max(groups, key=lambda group: (len(group), group[-1] - group[0]))
    low, high = np.percentile(largest, [3, 97])
    arc = max(float(high - low), MIN_ORBIT_ARC)
    return float((low + high) / 2 - arc / 2), arc, False


def _look_at(position: Array, target: Array, up: Array) -> Tensor:
    """Camera-to-world [3, 4] of an upright camera at `position` whose axis points at `target`."""
    forward = target - position
    forward = forward / max(float(np.linalg.norm(forward)), 1e-9)
    right = np.cross(-up, forward)
    right = right / max(float(np.linalg.norm(right)), 1e-9)
    return torch.from_numpy(np.stack([right, np.cross(forward, right), forward, position], axis=1)).float()


def _name(names: Sequence[str] | None, index: int) -> str:
    """The name of the appearance of a key-frame at a photo."""
    return names[index] if names is not None else "mean"
