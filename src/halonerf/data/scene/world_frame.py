"""The normalised world frame: origin at the median point, nine tenths of the points within one unit, +z up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEVEL_WEIGHT = 0.005  # weight of the mean image-up direction; resolves ambiguity, biases by less than 0.3 degrees


@dataclass(frozen=True)
class Similarity:
    """Similarity from the reconstruction's frame to the normalised one: x' = scale * rotation @ (x - centre)."""

    scale: float
    rotation: np.ndarray  # [3, 3]
    centre: np.ndarray  # [3]

    def points(self, points: np.ndarray) -> np.ndarray:
        """Points [N, 3] of the reconstruction's frame in the normalised frame, [N, 3]."""
        return self.scale * (points - self.centre) @ self.rotation.T

    def camera_to_world(self, cam_from_world: np.ndarray) -> np.ndarray:
        """Camera-to-world poses [V, 3, 4], normalised frame, from world-to-camera ones of the reconstruction's."""
        axes = np.swapaxes(cam_from_world[:, :, :3], 1, 2)
        centres = -np.einsum("vij,vj->vi", axes, cam_from_world[:, :, 3])
        return np.concatenate([self.rotation @ axes, self.points(centres)[:, :, None]], axis=2)

    def matrix(self) -> np.ndarray:
        """The similarity as a homogeneous matrix, [4, 4]."""
        out = np.eye(4)
        out[:3, :3] = self.scale * self.rotation
        out[:3, 3] = -out[:3, :3] @ self.centre
        return out


def normalise(points: np.ndarray, cam_from_world: np.ndarray) -> Similarity:
    """Similarity to the normalised frame, from points [N, 3] and world-to-camera poses [V, 3, 4].

    The side that most photos were taken from faces -y.
    """
    centre = np.median(points, axis=0)
    up = estimate_up(cam_from_world)
    radius = float(np.quantile(np.linalg.norm(points - centre, axis=1), 0.9))
    axes = np.swapaxes(cam_from_world[:, :, :3], 1, 2)
    centres = -np.einsum("vij,vj->vi", axes, cam_from_world[:, :, 3])
    front = np.median(centres, axis=0) - centre
    front = front - (front @ up) * up
    if np.linalg.norm(front) < 1e-6 * max(radius, 1e-12):
        front = np.cross(up, np.eye(3)[np.argmin(np.abs(up))])
    back = -front / np.linalg.norm(front)  # +y
    right = np.cross(back, up)  # +x
    return Similarity(1.0 / max(radius, 1e-12), np.stack([right, back, up]), centre)


def estimate_up(cam_from_world: np.ndarray) -> np.ndarray:
    """Direction against gravity, [3], unit, from the cameras' orientations.

    Photographers tilt cameras up and down but keep the horizon level: every camera's x axis is orthogonal to "up". The
    sum of |x . up| is minimised by re-weighted least squares, robust to a few rolled photos; where all cameras face the
    same way, which leaves a circle of solutions, the images' mean upward direction decides.

    Args:
        cam_from_world: [V, 3, 4], x right, y down.
    """
    level, upward = cam_from_world[:, 0, :3], -cam_from_world[:, 1, :3]
    mean = np.median(upward, axis=0)
    mean = mean / max(float(np.linalg.norm(mean)), 1e-12)
    up = mean
    for _ in range(30):
        weight = 1.0 / np.maximum(np.abs(level @ up), 0.02)  # 0.02: about one degree, a careful hand
        weight = weight / weight.sum()
        cost = np.einsum("v,vi,vj->ij", weight, level, level) - LEVEL_WEIGHT * np.outer(mean, mean)
        step = np.linalg.eigh(cost)[1][:, 0]
        step = step if step @ mean >= 0 else -step
        if step @ up > 1 - 1e-12:
            break
        up = step
    return up / np.linalg.norm(up)
