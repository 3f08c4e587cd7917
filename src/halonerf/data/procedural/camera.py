"""Pinhole cameras of procedural photos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from halonerf.data.procedural.mesh import UP, Array
from halonerf.types import View


@dataclass(frozen=True)
class Camera:
    """A pinhole camera.

    focal: px; the principal point is the image's centre. position: [3], world, metres. rotation: [3, 3], camera to
    world.
    """

    width: int
    height: int
    focal: float
    position: Array
    rotation: Array

    @classmethod
    def looking(
        cls, width: int, height: int, focal: float, position: Array, target: Array, roll: float = 0.0
    ) -> Camera:
        """Camera at `position` [3] facing `target` [3], rotated by `roll` radians about the optical axis."""
        forward = (target - position) / np.linalg.norm(target - position)
        right = np.cross(forward, UP)
        right /= np.linalg.norm(right)
        down = np.cross(forward, right)
        cos, sin = np.cos(roll), np.sin(roll)
        return cls(
            width, height, focal, position, np.stack([cos * right + sin * down, cos * down - sin * right, forward], 1)
        )

    @property
    def forward(self) -> Array:
        """Optical axis, [3] world."""
        return self.rotation[:, 2]

    @property
    def half_angle(self) -> float:
        """Half the horizontal field of view, radians."""
        return float(np.arctan(self.width / 2 / self.focal))

    def resized(self, width: int) -> Camera:
        """The same camera with an image `width` px wide."""
        scale = width / self.width
        return Camera(width, max(round(self.height * scale), 1), self.focal * scale, self.position, self.rotation)

    def project(self, points: Array) -> tuple[Array, Array]:
        """Pixels [N, 2] of points [N, 3] in the world, and their depth [N] along the optical axis, metres."""
        local = (points - self.position) @ self.rotation
        depth = local[:, 2]
        scale = self.focal / np.maximum(depth, 1e-6)
        return local[:, :2] * scale[:, None] + [self.width / 2, self.height / 2], depth

    def rays(self) -> Array:
        """Directions through the pixels' centres, of unit depth, [H, W, 3], world."""
        x, y = np.meshgrid(np.arange(self.width) + 0.5 - self.width / 2, np.arange(self.height) + 0.5 - self.height / 2)
        return np.stack([x / self.focal, y / self.focal, np.ones_like(x)], -1) @ self.rotation.T

    def unproject(self, depth: Array) -> Array:
        """Points [H, W, 3] in the world from depth [H, W] along the optical axis, metres."""
        return self.position + depth[..., None] * self.rays()

    def view(self) -> View:
        """The camera as a `View`; world units are metres."""
        import torch  # here: a plan builds the source of a scene without it

        pose = torch.tensor(np.concatenate([self.rotation, self.position[:, None]], 1), dtype=torch.float32)
        return View(self.width, self.height, self.focal, self.focal, self.width / 2, self.height / 2, pose)
