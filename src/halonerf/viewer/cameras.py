"""Conversions between the browser's camera and views: both look along +z with y down, in the world frame."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from halonerf.rotations import matrices, quaternions
from halonerf.types import View

if TYPE_CHECKING:
    from viser import CameraHandle, ClientHandle

FLIGHT_STEPS, FLIGHT_STEP_S = 18, 0.03
MIN_VIEW_PX = 16
PART_DISTANCE, MIN_DISTANCE = 1.6, 0.15  # of the camera to a part: in diagonals of its box, and world units at least


def view_of(camera: CameraHandle, long_side: int, enlarge: bool = False) -> View:
    """The view of a window, at most `long_side` px on its long side; enlarge: exactly that, even in a small window."""
    width, height = max(1, camera.image_width), max(1, camera.image_height)
    scale = long_side / max(width, height)
    scale = scale if enlarge else min(1.0, scale)
    width, height = max(MIN_VIEW_PX, round(width * scale)), max(MIN_VIEW_PX, round(height * scale))
    focal = height / 2 / math.tan(camera.fov / 2)
    return View(width, height, focal, focal, width / 2, height / 2, pose_of(camera))


def pose_of(camera: CameraHandle) -> Tensor:
    """Camera to world of a window's camera, [3, 4]."""
    rotation = matrices(torch.as_tensor(np.asarray(camera.wxyz), dtype=torch.float64)[None])[0]
    centre = torch.as_tensor(np.asarray(camera.position), dtype=torch.float64)
    return torch.cat([rotation, centre[:, None]], dim=1).float()


def framing_fov(view: View, aspect: float) -> float:
    """Vertical field of view, radians, at which a window shows a whole photo. aspect: the window's, width by height."""
    vertical = max(view.cy, view.height - view.cy) / view.fy
    horizontal = max(view.cx, view.width - view.cx) / view.fx
    return 2 * math.atan(max(vertical, horizontal / max(aspect, 1e-3)))


def place_camera(client: ClientHandle, pose: Tensor, fov: float | None = None, distance: float = 1.0) -> None:
    """Set a window's camera to a pose without animation.

    Args:
        pose: [3, 4], camera to world.
        fov: vertical, radians; None keeps the window's.
        distance: world units, of the point ahead around which the mouse orbits.
    """
    camera = client.camera
    rotation = pose[:, :3].double()
    with client.atomic():
        if fov is not None:
            camera.fov = float(fov)
        camera.up_direction = (-rotation[:, 1]).numpy()
        camera.position = pose[:, 3].double().numpy()
        camera.look_at = (pose[:, 3].double() + max(distance, 1e-3) * rotation[:, 2]).numpy()


def fly(client: ClientHandle, pose: Tensor, fov: float | None = None, distance: float = 1.0) -> None:
    """Move a window's camera to a pose in half a second, so that users see where it goes; see `place_camera`."""
    start, start_fov = pose_of(client.camera), client.camera.fov
    first, last = quaternions(torch.stack([start, pose])[:, :, :3].double())
    if (first * last).sum() < 0:
        last = -last
    for step in range(1, FLIGHT_STEPS + 1):
        share = step / FLIGHT_STEPS
        share = share * share * (3 - 2 * share)  # slow at both ends
        rotation = torch.nn.functional.normalize(torch.lerp(first, last, share), dim=0)
        centre = torch.lerp(start[:, 3], pose[:, 3], share)
        between = torch.cat([matrices(rotation[None])[0].float(), centre[:, None]], dim=1)
        between_fov = None if fov is None else start_fov + (fov - start_fov) * share
        place_camera(client, between, between_fov, distance)
        time.sleep(FLIGHT_STEP_S)
    place_camera(client, pose, fov, distance)


def pose_towards(centre: np.ndarray, box: np.ndarray, eye: Tensor, up: Tensor) -> tuple[Tensor, float]:
    """A camera that looks at a part from the direction of `eye`, near enough to fill the picture.

    Args:
        centre: [3], of the part. box: [2, 3], its smallest and largest corner. World units.
        eye: [3]. up: [3], unit vector of the world.
    Returns: camera to world [3, 4], and the distance to the centre, world units.
    """
    target = torch.as_tensor(centre, dtype=torch.float32)
    away = eye.float() - target
    size = float(np.linalg.norm(box[1] - box[0]))
    reach = max(PART_DISTANCE * size, MIN_DISTANCE)
    distance = min(float(away.norm()), reach) if float(away.norm()) > 1e-6 else reach
    forward = -torch.nn.functional.normalize(away, dim=0)
    right = torch.linalg.cross(forward, up.float())
    if right.norm() < 1e-4:  # looking straight up or down
        right = torch.linalg.cross(forward, torch.tensor([0.0, 1.0, 0.0]))
    right = torch.nn.functional.normalize(right, dim=0)
    down = torch.linalg.cross(forward, right)
    rotation = torch.stack([right, down, forward], dim=1)
    return torch.cat([rotation, (target - distance * forward)[:, None]], dim=1), distance
