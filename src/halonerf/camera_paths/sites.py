"""The photos' cameras as positions for camera paths: their distances, what they show, clearance to the points."""

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
MAX_VIEWS, MAX_POINTS = 200, 50_000  # larger collections are subsampled evenly
NEIGHBOURS = 3  # clearance is the distance to the third-nearest point: single stray points do not count
LINE_SAMPLES = 9  # positions at which the straight line between two photos is checked
CLOSE_UP_HEIGHT = 0.7  # of the median height that photos show, world units; below, a photo is a close-up
MIN_CLEARANCE = 0.5  # along a line, of the smaller clearance at its ends


class Sites:
    """The photos' cameras as positions in the scene.

    Args:
        views: of the photos, at least one.
        points: [N, 3], world units, of the reconstruction.

    Attributes (numpy, world frame; V photos):
        indices: [V], in `views`.
        centres, axes: [V, 3]; optical axes are unit vectors.
        aspect: median of width by height.
        fovs: [V], radians, vertical: of an image of that aspect that covers as large a solid angle as the photo.
        depths: [V], to the subject of the photo, world units.
        up: [3], unit: mean upward direction of the photos.
    """

    def __init__(self, views: Sequence[View], points: Tensor) -> None:
        self.indices = list(range(0, len(views), math.ceil(len(views) / MAX_VIEWS)))
        self.views = [views[i] for i in self.indices]
        cloud = points.detach().cpu().double().numpy().reshape(-1, 3)
        cloud = cloud[np.isfinite(cloud).all(axis=1)]
        self.points = cloud[:: math.ceil(max(len(cloud), 1) / MAX_POINTS)]
        poses = np.stack([v.camera_to_world.detach().cpu().double().numpy() for v in self.views])
        self.centres, self.axes = poses[:, :, 3], poses[:, :, 2]
        self.aspect = float(np.median([v.width / v.height for v in self.views]))
        self.fovs = [2 * math.atan(math.sqrt(v.width / v.fx * v.height / v.fy / self.aspect) / 2) for v in self.views]
        mean = -poses[:, :, 1].mean(axis=0)
        self.up = mean / np.linalg.norm(mean) if np.linalg.norm(mean) > 0.1 else -poses[0, :, 1]
        self.depths = self._depths()
        self._tree = cKDTree(self.points) if len(self.points) >= NEIGHBOURS else None

    def __len__(self) -> int:
        return len(self.views)

    def without_close_ups(self) -> Sites:
        """The sites without close-ups: photos that show much less of the scene's height than the median photo."""
        kept = np.flatnonzero(self.heights >= CLOSE_UP_HEIGHT * np.median(self.heights)).tolist()
        rest = object.__new__(Sites)
        rest.__dict__.update(
            {key: value for key, value in self.__dict__.items() if key not in ("distances", "angles", "heights")}
        )
        rest.indices, rest.views = [self.indices[i] for i in kept], [self.views[i] for i in kept]
        rest.fovs = [self.fovs[i] for i in kept]
        rest.centres, rest.axes, rest.depths = self.centres[kept], self.axes[kept], self.depths[kept]
        return rest

    @cached_property
    def angles(self) -> Array:
        """Angles between the photos' optical axes, [V, V], radians."""
        return np.arccos(np.clip(self.axes @ self.axes.T, -1, 1))

    @cached_property
    def distances(self) -> Array:
        """Dissimilarity of two cameras, [V, V]: translation by depth, plus angle in radians, plus log zoom."""
        translation = np.linalg.norm(self.centres[:, None] - self.centres[None], axis=-1)
        depth = np.minimum(self.depths[:, None], self.depths[None])
        zoom = np.abs(np.subtract.outer(np.log(self.fovs), np.log(self.fovs)))
        return translation / depth + self.angles + zoom

    @cached_property
    def heights(self) -> Array:
        """Half the height that each photo shows at the depth of its subject, [V], world units."""
        return self.depths * np.tan(np.array(self.fovs) / 2)

    def focus(self) -> Array:
        """The median of the photos' subjects, the points on the optical axes at `depths`: [3]."""
        return np.median(self.centres + self.axes * self.depths[:, None], axis=0)

    def clearance(self, positions: Array) -> Array:
        """Distance of positions [N, 3] to the reconstruction's points, [N], world units; infinite without points."""
        if self._tree is None:
            return np.full(len(positions), np.inf)
        return self._tree.query(positions, k=NEIGHBOURS)[0][:, -1]

    def unobstructed(self) -> NDArray[np.bool_]:
        """Whether the straight line between two photos keeps clear of the points, [V, V]."""
        clearance = self.clearance(self.centres)
        share = (np.arange(LINE_SAMPLES) + 0.5) / LINE_SAMPLES
        result = np.eye(len(self), dtype=bool)
        for i in range(len(self)):
            lines = self.centres[i] + share[None, :, None] * (self.centres - self.centres[i])[:, None]
            smallest = self.clearance(lines.reshape(-1, 3)).reshape(len(self), LINE_SAMPLES).min(axis=1)
            result[i] |= smallest >= MIN_CLEARANCE * np.minimum(clearance, clearance[i])
        return result | result.T

    def pull_back(self, position: Array, photo: int) -> Array:
        """`position` [3], moved towards a photo until a straight line from there keeps clear of the points."""
        start = self.centres[photo]
        share = (np.arange(LINE_SAMPLES) + 1.0)[:, None] / LINE_SAMPLES
        for part in (1.0, 0.75, 0.5, 0.25):
            end = start + part * (position - start)
            clearance = self.clearance(start + share * (end - start))
            if clearance.min() >= MIN_CLEARANCE * self.clearance(start[None])[0]:
                return end
        return start

    def _depths(self) -> Array:
        """Median depth of the points in a photo's middle, else in all of it, else the distance to their median."""
        known = len(self.points) > 0
        depths = np.ones(len(self))
        if known:
            depths = np.maximum(np.linalg.norm(self.centres - np.median(self.points, axis=0), axis=1), 1e-3)
        for i, view in enumerate(self.views if known else ()):
            pose = view.camera_to_world.detach().cpu().double().numpy()
            local = (self.points - pose[:, 3]) @ pose[:, :3]
            front = local[local[:, 2] > 1e-6]
            x, y = front[:, 0] / front[:, 2] * view.fx / view.width, front[:, 1] / front[:, 2] * view.fy / view.height
            for half in (0.25, 0.5):
                inside = front[(np.abs(x) < half) & (np.abs(y) < half), 2]
                if len(inside) >= NEIGHBOURS:
                    depths[i] = np.median(inside)
                    break
        return depths
