"""Between the browser's camera and ours: both look along +z with y down, in the scene's world frame."""

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

STEPS, STEP_S = 18, 0.03  # of a flight from here to there


def view_of(camera: CameraHandle, longest: int, enlarge: bool = False) -> View:
    """What a window sees, at most `longest` px on its long side; enlarge: just so long, however small the window."""
    width, height = max(1, camera.image_width), max(1, camera.image_height)
    scale = longest / max(width, height)
    scale = scale if enlarge else min(1.0, scale)
    width, height = max(16, round(width * scale)), max(16, round(height * scale))
    focal = height / 2 / math.tan(camera.fov / 2)
    return View(width, height, focal, focal, width / 2, height / 2, pose_of(camera))


def pose_of(camera: CameraHandle) -> Tensor:
    """Where a window's camera is, [3, 4]."""
    rotation = matrices(torch.as_tensor(np.asarray(camera.wxyz), dtype=torch.float64)[None])[0]
    place = torch.as_tensor(np.asarray(camera.position), dtype=torch.float64)
    return torch.cat([rotation, place[:, None]], dim=1).float()


def framing(view: View, aspect: float) -> float:
    """The vertical field of view, radians, at which a window of that aspect (width by height) shows a whole photo."""
    up_down = max(view.cy, view.height - view.cy) / view.fy
    left_right = max(view.cx, view.width - view.cx) / view.fx
    return 2 * math.atan(max(up_down, left_right / max(aspect, 1e-3)))


def place_camera(client: ClientHandle, pose: Tensor, fov: float | None = None, distance: float = 1.0) -> None:
    """Put a window's camera at a pose [3, 4] at once; the mouse then turns about what lies `distance` ahead."""
    camera = client.camera
    rotation = pose[:, :3].double()
    with client.atomic():
        if fov is not None:
            camera.fov = float(fov)
        camera.up_direction = (-rotation[:, 1]).numpy()
        camera.position = pose[:, 3].double().numpy()
        camera.look_at = (pose[:, 3].double() + max(distance, 1e-3) * rotation[:, 2]).numpy()


def fly(client: ClientHandle, pose: Tensor, fov: float | None = None, distance: float = 1.0) -> None:
    """Take a window's camera to a pose [3, 4] in half a second, so that people see where it goes."""
    start, start_fov = pose_of(client.camera), client.camera.fov
    turns = quaternions(torch.stack([start, pose])[:, :, :3].double())
    if (turns[0] * turns[1]).sum() < 0:
        turns = torch.stack([turns[0], -turns[1]])
    for step in range(1, STEPS + 1):
        share = step / STEPS
        share = share * share * (3 - 2 * share)  # slow at both ends
        turn = torch.nn.functional.normalize(torch.lerp(turns[0], turns[1], share), dim=0)
        place = torch.lerp(start[:, 3], pose[:, 3], share)
        between = torch.cat([matrices(turn[None])[0].float(), place[:, None]], dim=1)
        zoom = None if fov is None else start_fov + (fov - start_fov) * share
        place_camera(client, between, zoom, distance)
        time.sleep(STEP_S)
    place_camera(client, pose, fov, distance)


def towards(centre: np.ndarray, box: np.ndarray, eye: Tensor, up: Tensor) -> tuple[Tensor, float]:
    """A pose [3, 4] that looks at a part from where `eye` [3] stands, nearer, and how far away the part is.

    centre: [3]. box: [2, 3], its corners, world units. up: [3], the world's.
    """
    target = torch.as_tensor(centre, dtype=torch.float32)
    away = eye.float() - target
    size = float(np.linalg.norm(box[1] - box[0]))
    reach = max(1.6 * size, 0.15)
    distance = min(float(away.norm()), reach) if float(away.norm()) > 1e-6 else reach
    forward = -torch.nn.functional.normalize(away, dim=0)
    right = torch.linalg.cross(forward, up.float())
    if right.norm() < 1e-4:  # looking straight up or down
        right = torch.linalg.cross(forward, torch.tensor([0.0, 1.0, 0.0]))
    right = torch.nn.functional.normalize(right, dim=0)
    down = torch.linalg.cross(forward, right)
    rotation = torch.stack([right, down, forward], dim=1)
    return torch.cat([rotation, (target - distance * forward)[:, None]], dim=1), distance
