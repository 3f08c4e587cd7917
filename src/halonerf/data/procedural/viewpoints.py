"""Random cameras on the square before the landmark: overviews, and close-ups of parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.random import Generator

from halonerf.data.procedural.camera import Camera
from halonerf.data.procedural.mesh import Array, MeshPart

MAX_ATTEMPTS = 60


class DepthMeter(Protocol):
    """The signature of `SceneRenderer.depth`."""

    def __call__(self, camera: Camera) -> Array:
        """Depth, metres along the optical axis, [H, W], 0 for sky."""


@dataclass(frozen=True)
class Shot:
    """A camera and the part that it shows; None for the whole building."""

    camera: Camera
    part: MeshPart | None


def overview(rng: Generator, meter: DepthMeter, width: int, extent: Array, closeness: float = 1.0) -> Shot:
    """A shot of the landmark, or of a large piece of it.

    Args:
        width: px, long side. extent: bounding box of the landmark, [2, 3].
        closeness: share of the landmark that is shown, at most 1.
    """
    portrait = rng.random() < 0.35
    size = (width * 3 // 4, width) if portrait else (width, width * 3 // 4)
    low, high = extent
    for _ in range(MAX_ATTEMPTS):
        position = _position(rng, 26.0, 68.0)
        middle = np.array([rng.normal(0, 3.0), 3.0, high[2] * rng.uniform(0.3, 0.45)])
        if closeness < 1:
            middle = np.array([rng.uniform(low[0], high[0]) * 0.7, 3.0, high[2] * rng.uniform(0.15, 0.7)])
        distance = float(np.linalg.norm(middle - position))
        span = (
            max((high[0] - low[0]) * 0.9 if not portrait else 0.0, high[2] * 0.8) * closeness * rng.uniform(0.75, 1.15)
        )
        short = size[0] if portrait else size[1]
        focal = float(np.clip(short * distance / span, width * 0.62, width * 8))
        camera = Camera.looking(*size, focal, position, middle, float(rng.normal(0, 0.012)))
        if _free(meter, camera):
            return Shot(camera, None)
    raise AssertionError("no free place on the square for an overview")


def close_up(
    rng: Generator, meter: DepthMeter, width: int, part: MeshPart, fill: tuple[float, float] = (0.32, 0.8)
) -> Shot | None:
    """A shot of one part that fills a share in `fill` of the image, or None where no viewpoint shows it well."""
    corners = part.corners
    centre = corners.mean(0)
    for _ in range(MAX_ATTEMPTS // 4):
        position = _position(rng, 9.0, 55.0)
        towards = (position - centre) / np.linalg.norm(position - centre)
        if part.normal is not None and float(towards @ part.normal) < 0.45:
            continue
        trial = Camera.looking(1000, 1000, 1000.0, position, centre)
        pixels, _ = trial.project(corners)
        span = (pixels.max(0) - pixels.min(0)) / 1000
        portrait = bool(span[1] > span[0] * rng.uniform(0.9, 1.6))
        size = (width * 3 // 4, width) if portrait else (width, width * 3 // 4)
        share = rng.uniform(*fill)
        focal = float(np.clip(share * min(size[0] / span[0], size[1] / span[1]), width * 0.62, width * 4))
        slack = (1 - share) * 0.5 * min(size) / focal * np.linalg.norm(position - centre)
        aim = centre + rng.uniform(-0.7, 0.7, 3) * slack
        camera = Camera.looking(*size, focal, position, aim, float(rng.normal(0, 0.015)))
        if _shows(meter, camera, part) and _free(meter, camera, 0.06):
            return Shot(camera, part)
    return None


def choose_part(rng: Generator, parts: Sequence[MeshPart]) -> MeshPart:
    """Random part: large parts and those near the front are more likely, parts below 1.5 m very unlikely."""
    size = np.array([np.linalg.norm(part.high - part.low) for part in parts])
    behind = np.array([max(part.low[1], 0.0) for part in parts])
    weight = size**1.5 * np.exp(-behind / 25.0) * np.where(size < 1.5, 1e-3, 1.0)
    return parts[rng.choice(len(parts), p=weight / weight.sum())]


def _position(rng: Generator, near: float, far: float) -> Array:
    """Random camera position [3]: at eye height on the square, at times above it."""
    angle, distance = np.radians(rng.uniform(-58, 58)), rng.uniform(near, far)
    height = rng.uniform(1.5, 1.85) if rng.random() < 0.8 else rng.uniform(3.0, 15.0)
    return np.array([np.clip(np.sin(angle) * distance, -37, 37), -max(np.cos(angle) * distance, 8.0), height])


def _free(meter: DepthMeter, camera: Camera, solid: float = 0.25) -> bool:
    """Whether nothing is right before the camera, and more than the share `solid` of the image is not sky."""
    depth = meter(camera.resized(48))
    return bool((depth > 0).mean() > solid and ((depth > 0) & (depth < 5.5)).mean() < 0.12)


def _shows(meter: DepthMeter, camera: Camera, part: MeshPart) -> bool:
    """Whether the part is in the image and not occluded: it fills enough of its projected bounding box."""
    small = camera.resized(64)
    depth = meter(small)
    points = small.unproject(depth)
    inside = ((points > part.low - 0.25) & (points < part.high + 0.25)).all(-1) & (depth > 0)
    pixels, front = small.project(part.corners)
    low, high = pixels.min(0), pixels.max(0)
    visible = np.clip(np.minimum(high, [small.width, small.height]) - np.maximum(low, 0), 0, None).prod()
    share = 0.28 if part.normal is None else 0.45  # round and pointed parts leave corners of their boxes empty
    return bool((front > 1).all() and inside.sum() > share * visible and visible > 0.8 * (high - low).prod())
