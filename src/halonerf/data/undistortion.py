"""Undistortion: resampling of photos from their camera model to a pinhole camera.

The pinhole keeps the photo's aspect, focal length and principal point. Where lens and pinhole disagree about the
field of view, pixels of the pinhole image that the photo does not cover are marked as not valid.
"""

from __future__ import annotations

import numpy as np
import pycolmap
from scipy.ndimage import map_coordinates

from halonerf.geometry import resize_pixels

MIN_SHIFT = 0.05  # px; below, resampling would blur more than the distortion displaces
ASPECT_TOLERANCE = 0.01  # relative; besides, a pixel of rounding at the smaller image's side


def working_size(width: int, height: int, size: int) -> tuple[int, int]:
    """(width, height), px, of a photo with its long side reduced to at most `size` px."""
    scale = min(1.0, size / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def pinhole_points(camera: pycolmap.Camera, pixels: np.ndarray) -> np.ndarray:
    """Positions of a photo's pixels in the pinhole image of the same size, [M, 2] px; NaN beyond the lens model."""
    rays = np.asarray(camera.cam_from_img(np.asarray(pixels, dtype=np.float64).reshape(-1, 2)))
    focal, centre = _pinhole(camera)
    return rays * focal + centre


def source_map(camera: pycolmap.Camera, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Position in the photo of each pixel of the pinhole image.

    Args:
        camera: of the upright photo, in its pixels.
        width, height: px, the pinhole image's resolution.
    Returns: positions in the photo [H, W, 2], px of the photo; inside [H, W] bool: the photo covers that pixel.
    """
    focal, centre = _pinhole(camera)
    x = (np.arange(width) + 0.5) * (camera.width / width)
    y = (np.arange(height) + 0.5) * (camera.height / height)
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    if camera.is_undistorted():
        source = grid
    else:
        rays = (grid - centre) / focal
        source = np.asarray(camera.img_from_cam(np.column_stack([rays, np.ones(len(rays))])))
        source[_folded(camera, rays)] = np.nan
    inside = (source >= 0).all(axis=1) & (source <= (camera.width, camera.height)).all(axis=1)
    return source.reshape(height, width, 2), inside.reshape(height, width)


def undistort(
    camera: pycolmap.Camera, image: np.ndarray, width: int, height: int, nearest: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """An image of the upright photo resampled to the pinhole camera.

    Args:
        camera: of the upright photo, in its pixels.
        image: [h, w] or [h, w, C], uint8 or float, at any resolution with the photo's aspect.
        width, height: px, of the result.
        nearest: take the nearest pixel (labels); else average over areas when shrinking.
    Returns: the image [H, W(, C)] of the same type, 0 where the photo has nothing; inside [H, W] bool.

    Raises: ValueError where the aspect is another one.
    """
    rows, columns = image.shape[:2]
    expected = columns * camera.height / camera.width
    if abs(expected - rows) > max(1.0, columns / max(camera.width, 1)) + ASPECT_TOLERANCE * rows:
        raise ValueError(f"aspect of {columns}x{rows} px, not of {camera.width}x{camera.height} px")
    source, inside = source_map(camera, width, height)
    scale = np.array([columns / camera.width, rows / camera.height])
    if nearest:
        place = np.floor(np.nan_to_num(source * scale)).astype(np.int64)
        picked = image[place[..., 1].clip(0, rows - 1), place[..., 0].clip(0, columns - 1)]
        return np.where(_widen(inside, image), picked, 0).astype(image.dtype), inside
    identity = np.stack(np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height), axis=-1)
    shift = np.nan_to_num(source / (camera.width, camera.height) - identity, nan=np.inf) * (width, height)
    if np.abs(shift).max() < MIN_SHIFT:
        return resize_pixels(image, width, height), inside
    fine_w, fine_h = min(columns, 2 * width), min(rows, 2 * height)
    fine = resize_pixels(image, fine_w, fine_h)
    fine_source, fine_inside = source_map(camera, max(fine_w, width), max(fine_h, height))
    warped = _bilinear(fine, fine_source * (np.array([fine_w / camera.width, fine_h / camera.height])))
    warped = np.where(_widen(fine_inside, warped), warped, 0)
    if image.dtype == np.uint8:
        warped = np.clip(warped + 0.5, 0, 255).astype(np.uint8)
    result = resize_pixels(warped.astype(image.dtype), width, height)
    return np.where(_widen(inside, result), result, 0).astype(image.dtype), inside


def distort(camera: pycolmap.Camera, image: np.ndarray, width: int, height: int) -> np.ndarray:
    """An image of the pinhole camera resampled to the photo, the inverse of `undistort`.

    Args:
        camera: of the photo, in its pixels. image: [h, w], the pinhole image, at any resolution.
        width, height: px, of the result, of the photo's aspect.
    Returns: [H, W] of the same type, the nearest pixels; 0 beyond the pinhole image.
    """
    x = (np.arange(width) + 0.5) * (camera.width / width)
    y = (np.arange(height) + 0.5) * (camera.height / height)
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    points = grid if camera.is_undistorted() else pinhole_points(camera, grid)
    rows, columns = image.shape
    place = np.floor(np.nan_to_num(points / (camera.width, camera.height), nan=-1.0) * (columns, rows)).astype(np.int64)
    inside = (place >= 0).all(axis=1) & (place < (columns, rows)).all(axis=1)
    place = place.clip(0, (columns - 1, rows - 1))
    return np.where(inside, image[place[:, 1], place[:, 0]], 0).astype(image.dtype).reshape(height, width)


def _pinhole(camera: pycolmap.Camera) -> tuple[np.ndarray, np.ndarray]:
    focal = np.array([camera.focal_length_x, camera.focal_length_y])
    return focal, np.array([camera.principal_point_x, camera.principal_point_y])


def _folded(camera: pycolmap.Camera, rays: np.ndarray) -> np.ndarray:
    """Rays [N, 2], bool [N], beyond the radius where the lens polynomial folds back and would repeat the photo."""
    radius = np.linalg.norm(rays, axis=1)
    steps = np.linspace(0.0, max(float(radius.max(initial=0.0)), 1e-9), 512)
    limit = np.inf
    for angle in np.linspace(0.0, 2 * np.pi, 8, endpoint=False):
        line = steps[:, None] * np.array([np.cos(angle), np.sin(angle)])
        pixels = np.asarray(camera.img_from_cam(np.column_stack([line, np.ones(len(line))])))
        reach = np.linalg.norm(pixels - pixels[0], axis=1)
        back = np.flatnonzero(~(np.diff(reach) > 0))
        if len(back):
            limit = min(limit, steps[back[0]])
    return radius > limit


def _widen(mask: np.ndarray, image: np.ndarray) -> np.ndarray:
    return mask if image.ndim == 2 else mask[..., None]


def _bilinear(image: np.ndarray, source: np.ndarray) -> np.ndarray:
    at = [np.nan_to_num(source[..., 1], nan=-1e4) - 0.5, np.nan_to_num(source[..., 0], nan=-1e4) - 0.5]
    planes = np.atleast_3d(image)
    out = [map_coordinates(p.astype(np.float32), at, order=1, mode="nearest") for p in np.moveaxis(planes, 2, 0)]
    return np.stack(out, axis=2) if image.ndim == 3 else out[0]
