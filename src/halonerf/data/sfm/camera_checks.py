"""Checks of a finished model's cameras: a lens that can be undistorted to a pinhole, and a pose of finite numbers."""

from __future__ import annotations

import numpy as np
import pycolmap

from halonerf.data.undistortion import source_map

FOCAL_LIMITS = (0.01, 1000.0)  # of the photo's long side: 178 degrees seen, or 0.06
MAX_SKEW = 1e-3  # of a rotation matrix: largest entry of its product with its transpose, less the identity
PROBES = 16  # pixels along either side by which the lens is tried


def camera_problem(camera: pycolmap.Camera) -> str:
    """Why photos of a camera cannot be undistorted to a pinhole image; empty where they can."""
    if not len(camera.focal_length_idxs()):
        return f"camera model {camera.model_name}, which has no focal length and no pinhole image"
    if camera.width < 1 or camera.height < 1:
        return f"a camera of {camera.width}x{camera.height} px"
    if not np.isfinite(camera.params).all():
        return f"camera parameters that are not finite: {_numbers(camera)}"
    focal = [camera.focal_length_x, camera.focal_length_y]
    low, high = (limit * max(camera.width, camera.height) for limit in FOCAL_LIMITS)
    if not all(low <= f <= high for f in focal):
        return f"a focal length of {' and '.join(f'{f:g}' for f in dict.fromkeys(focal))} px"
    with np.errstate(over="ignore", invalid="ignore"):
        _, inside = source_map(camera, PROBES, PROBES)
    return "" if inside.any() else f"lens parameters under which nothing of the photo is seen: {_numbers(camera)}"


def pose_problem(image: pycolmap.Image) -> str:
    """Why the pose of a registered photo cannot be used; empty where it can."""
    pose = np.asarray(image.cam_from_world().matrix())
    rotation = pose[:, :3]
    if not np.isfinite(pose).all() or np.abs(rotation @ rotation.T - np.eye(3)).max() > MAX_SKEW:
        return "a pose in the model that is no rotation and translation"
    return ""


def _numbers(camera: pycolmap.Camera) -> str:
    return ", ".join(f"{p:g}" for p in camera.params)
