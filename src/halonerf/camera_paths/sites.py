"""Where photographers stood, what they looked at, and how much room there is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from halonerf.types import View

Array = NDArray[np.float64]
MOST_VIEWS, MOST_POINTS = 200, 50_000  # of larger collections every so-manieth is taken: paths need no more
NEAREST = 3  # a single stray point in the air takes no room
ALONG = 9  # places at which the way between two photos is looked at
CLOSE = 0.7  # of the height, world units, that most photos show; below, a photo is a close-up
ROOM = 0.5  # of the lesser room at a way's ends, the least on the way


class Sites:
    """The photos' cameras as places in the scene.

    Args:
        views: the photos', at least one.
        points: [N, 3], world units, of the reconstruction.

    Attributes (numpy, world frame; V photos):
        numbers: [V], which of `views` they are.
        centres, axes: [V, 3], axes unit.
        aspect: of most photos, width by height.
        fovs: [V], radians, vertical: of a picture of that aspect that shows as much as the photo.
        depths: [V], to what the photo is of, world units.
        up: [3], unit, on the mean of all photos.
    """

    def __init__(self, views: Sequence[View], points: Tensor) -> None:
        self.numbers = list(range(0, len(views), math.ceil(len(views) / MOST_VIEWS)))
        self.views = [views[i] for i in self.numbers]
        cloud = points.detach().cpu().double().numpy().reshape(-1, 3)
        cloud = cloud[np.isfinite(cloud).all(axis=1)]
        self.points = cloud[:: math.ceil(max(len(cloud), 1) / MOST_POINTS)]
        poses = np.stack([v.camera_to_world.detach().cpu().double().numpy() for v in self.views])
        self.centres, self.axes = poses[:, :, 3], poses[:, :, 2]
        self.aspect = float(np.median([v.width / v.height for v in self.views]))
        self.fovs = [2 * math.atan(math.sqrt(v.width / v.fx * v.height / v.fy / self.aspect) / 2) for v in self.views]
        mean = -poses[:, :, 1].mean(axis=0)
        self.up = mean / np.linalg.norm(mean) if np.linalg.norm(mean) > 0.1 else -poses[0, :, 1]
        self.depths = self._depths()
        self._tree = cKDTree(self.points) if len(self.points) >= NEAREST else None

    def __len__(self) -> int:
        return len(self.views)

    def without_close_ups(self) -> Sites:
        """Without the photos that show clearly less of the place than most."""
        kept = np.flatnonzero(self.heights >= CLOSE * np.median(self.heights)).tolist()
        rest = object.__new__(Sites)
        rest.__dict__.update(
            {key: value for key, value in self.__dict__.items() if key not in ("steps", "turns", "heights")}
        )
        rest.numbers, rest.views = [self.numbers[i] for i in kept], [self.views[i] for i in kept]
        rest.fovs = [self.fovs[i] for i in kept]
        rest.centres, rest.axes, rest.depths = self.centres[kept], self.axes[kept], self.depths[kept]
        return rest

    @cached_property
    def turns(self) -> Array:
        """Angles between the photos' directions, [V, V], radians."""
        return np.arccos(np.clip(self.axes @ self.axes.T, -1, 1))

    @cached_property
    def steps(self) -> Array:
        """How unlike two photos' cameras are, [V, V]: distance by depth, turn in radians, and logarithm of the zoom."""
        far = np.linalg.norm(self.centres[:, None] - self.centres[None], axis=-1)
        depth = np.minimum(self.depths[:, None], self.depths[None])
        zoom = np.abs(np.subtract.outer(np.log(self.fovs), np.log(self.fovs)))
        return far / depth + self.turns + zoom

    @cached_property
    def heights(self) -> Array:
        """Half of the height that each photo shows of what it is of, [V], world units."""
        return self.depths * np.tan(np.array(self.fovs) / 2)

    def focus(self) -> Array:
        """What most photos look at, [3]: the median of the places in the middle of each."""
        return np.median(self.centres + self.axes * self.depths[:, None], axis=0)

    def room(self, places: Array) -> Array:
        """How far it is to the points around, [N], world units; infinite where there are none."""
        if self._tree is None:
            return np.full(len(places), np.inf)
        return self._tree.query(places, k=NEAREST)[0][:, -1]

    def free(self) -> NDArray[np.bool_]:
        """Between which photos a straight way keeps clear of the points, [V, V]."""
        here = self.room(self.centres)
        share = (np.arange(ALONG) + 0.5) / ALONG
        result = np.eye(len(self), dtype=bool)
        for i in range(len(self)):
            ways = self.centres[i] + share[None, :, None] * (self.centres - self.centres[i])[:, None]
            least = self.room(ways.reshape(-1, 3)).reshape(len(self), ALONG).min(axis=1)
            result[i] |= least >= ROOM * np.minimum(here, here[i])
        return result | result.T

    def nearer_until_free(self, place: Array, photo: int) -> Array:
        """`place`, or as near to a photo's place as it takes to get there without touching anything."""
        start = self.centres[photo]
        share = (np.arange(ALONG) + 1.0)[:, None] / ALONG
        for part in (1.0, 0.75, 0.5, 0.25):
            end = start + part * (place - start)
            way = self.room(start + share * (end - start))
            if way.min() >= ROOM * self.room(start[None])[0]:
                return end
        return start

    def _depths(self) -> Array:
        """To the median point in the middle of each photo, or in all of it, or to that of the cloud at the worst."""
        known = len(self.points) > 0
        rest = np.linalg.norm(self.centres - np.median(self.points, axis=0), axis=1) if known else np.ones(len(self))
        depths = np.maximum(rest, 1e-3)
        for i, view in enumerate(self.views if known else ()):
            pose = view.camera_to_world.detach().cpu().double().numpy()
            local = (self.points - pose[:, 3]) @ pose[:, :3]
            ahead = local[local[:, 2] > 1e-6]
            x, y = ahead[:, 0] / ahead[:, 2] * view.fx / view.width, ahead[:, 1] / ahead[:, 2] * view.fy / view.height
            for half in (0.25, 0.5):
                seen = ahead[(np.abs(x) < half) & (np.abs(y) < half), 2]
                if len(seen) >= NEAREST:
                    depths[i] = np.median(seen)
                    break
        return depths
