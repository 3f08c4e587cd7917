"""The coordinate frame of an export: that of the scene, or that of the reconstruction that the scene came from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from halonerf.data.scene.scene import Scene
from halonerf.errors import BadInput
from halonerf.rotations import product, quaternions
from halonerf.types import Splats

WORLD, MODEL = "world", "model"
Array = NDArray[np.float64]


@dataclass(frozen=True)
class ExportFrame:
    """The similarity x' = scale * rotation @ x + shift from the world frame to the export's.

    name: "world" or "model". rotation: [3, 3]. shift: [3]. upright: [3, 3], rotates the export's axes so that +y is up,
    as glTF requires.
    """

    name: str
    scale: float
    rotation: Array
    shift: Array
    upright: Array

    @classmethod
    def of(cls, name: str, scene: Scene) -> ExportFrame:
        """The frame of that name for a scene. Raises: BadInput for an unknown name."""
        y_up = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])  # from +z up
        if name == WORLD:
            return cls(name, 1.0, np.eye(3), np.zeros(3), y_up)
        if name != MODEL:
            raise BadInput(f"expected export.frame=world or model, got '{name}'")
        matrix = scene.scene_from_model.numpy()
        scale = float(np.cbrt(np.linalg.det(matrix[:3, :3])))
        rotation = matrix[:3, :3] / scale
        return cls(name, 1 / scale, rotation.T, -rotation.T @ matrix[:3, 3] / scale, y_up @ rotation)

    def points(self, points: np.ndarray | Tensor) -> Array:
        """Points [N, 3] of the world in the export's frame and unit."""
        return self.scale * _array(points) @ self.rotation.T + self.shift

    def directions(self, directions: np.ndarray | Tensor) -> Array:
        """Unit vectors [N, 3] of the world in the export's frame."""
        return _array(directions) @ self.rotation.T

    def camera_to_frame(self, camera_to_world: Tensor) -> Array:
        """Camera to world [3, 4] -> camera to the export's frame [3, 4], rigid, with the shift in the export's unit."""
        pose = camera_to_world.detach().cpu().double().numpy()
        return np.column_stack([self.rotation @ pose[:, :3], self.points(pose[None, :, 3])[0]])

    def splats(self, splats: Splats) -> Splats:
        """The same Gaussians in the export's frame."""
        rotation = quaternions(torch.from_numpy(self.rotation).to(splats.rotations)[None])
        return replace(
            splats,
            centres=torch.from_numpy(self.points(splats.centres)).to(splats.centres),
            scales=splats.scales * self.scale,
            rotations=product(rotation, splats.rotations),
        )


def _array(values: np.ndarray | Tensor) -> Array:
    return np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, np.float64)
