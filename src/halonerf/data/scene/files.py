"""The files of a finished `ingest` folder and their writer; `halonerf.data.scene.scene` reads them.

scene.json      names, cameras, splits, the similarity from the reconstruction's frame to the scene's
geometry.npz    poses, near and far, points, observations of the points per photo
images.u8       working images of all photos, uint8 RGB, concatenated
valid.u8        0/1 per pixel: whether the original photo covers it
sparse/         the COLMAP model in the original photos' pixels
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap

from halonerf.data.scene.world_frame import Similarity, normalise
from halonerf.data.sfm.features import mapping_scale
from halonerf.data.undistortion import pinhole_points, working_size
from halonerf.errors import BadInput
from halonerf.files import write_json, write_npz

SCENE, GEOMETRY, IMAGES, VALID, SPARSE = "scene.json", "geometry.npz", "images.u8", "valid.u8", "sparse"


@dataclass(frozen=True)
class PosedPhoto:
    """A registered photo: its camera in the upright original's pixels, and its world-to-camera pose [3, 4]."""

    name: str
    image_id: int
    camera: pycolmap.Camera
    cam_from_world: np.ndarray


@dataclass(frozen=True)
class Filters:
    """Criteria for the model's points that the scene keeps.

    max_error: mean reprojection error, px of photos shrunk to a long side of `frame` px (the mapping frame).
    min_track: photos that observe the point. min_angle: largest triangulation angle, degrees.
    """

    max_error: float
    min_track: int
    min_angle: float
    frame: int


def posed_photos(model: pycolmap.Reconstruction) -> list[PosedPhoto]:
    """The model's registered photos sorted by name, the order of the scene's views."""
    images = sorted((model.image(i) for i in model.reg_image_ids()), key=lambda image: image.name)
    return [
        PosedPhoto(im.name, im.image_id, model.camera(im.camera_id), np.asarray(im.cam_from_world().matrix()))
        for im in images
    ]


def layout(photos: Sequence[PosedPhoto], size: int) -> tuple[list[tuple[int, int]], np.ndarray]:
    """Working sizes (width, height), px, and the first pixel of each photo in the flat files, [V + 1]."""
    sizes = [working_size(p.camera.width, p.camera.height, size) for p in photos]
    return sizes, np.concatenate([[0], np.cumsum([w * h for w, h in sizes])]).astype(np.int64)


def write_tables(
    folder: Path,
    name: str,
    model: pycolmap.Reconstruction,
    size: int,
    filters: Filters,
    split: dict[str, str],
    orientations: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Write `scene.json` and `geometry.npz` of a model whose photos are in the flat files already.

    Args:
        size: long side of the working images, px.
        split: photo name to "train" or "test".
        orientations: photo name to the EXIF orientation that its camera ignores; others are used upright.
    Returns: figures for the report.

    Raises: BadInput where the filters leave too few points.
    """
    photos = posed_photos(model)
    ids, xyz, error, tracks = _kept_points(model, photos, filters)
    if len(ids) < 8:
        raise BadInput(
            f"expected at least 8 points that pass the filters, got {len(ids)} of {model.num_points3D()}.\n"
            "Add photos that overlap more, or loosen: ingest.max_error=… ingest.min_track=2 ingest.min_angle=…"
        )
    poses = np.stack([p.cam_from_world for p in photos])
    frame = normalise(xyz, poses)
    sizes, starts = layout(photos, size)
    pixels, depth, point, offsets = _observations(model, photos, ids, sizes, frame.scale)
    near, far = _ranges(photos, xyz, frame.scale)
    colours = _colours(folder / IMAGES, sizes, starts, pixels, point, offsets, len(ids))
    write_npz(
        folder / GEOMETRY,
        camera_to_world=frame.camera_to_world(poses).astype(np.float32),
        near=near.astype(np.float32),
        far=far.astype(np.float32),
        points=frame.points(xyz).astype(np.float32),
        colours=colours,
        errors=error.astype(np.float32),
        offsets=offsets,
        observed_pixels=pixels.astype(np.float32),
        observed_depth=depth.astype(np.float32),
        observed_point=point.astype(np.int32),
    )
    write_json(
        folder / SCENE,
        {"name": name, "size": size, **_cameras(photos, sizes, split, orientations or {}), **_frame(frame)},
    )
    return {
        "points": len(ids),
        "points_before_filter": int(model.num_points3D()),
        "mean_reprojection_error_px": float(np.mean(error)),
        "mean_track_length": float(np.mean(tracks)),
    }


def _frame(frame: Similarity) -> dict[str, Any]:
    return {"up": [0.0, 0.0, 1.0], "scene_from_model": frame.matrix().tolist()}


def _cameras(
    photos: Sequence[PosedPhoto],
    sizes: Sequence[tuple[int, int]],
    split: dict[str, str],
    orientations: Mapping[str, int],
) -> dict[str, Any]:
    views = []
    for photo, (width, height) in zip(photos, sizes, strict=True):
        camera = photo.camera
        sx, sy = width / camera.width, height / camera.height
        views.append(
            {
                "name": photo.name,
                "image_id": photo.image_id,
                "split": split[photo.name],
                "width": width,
                "height": height,
                "fx": camera.focal_length_x * sx,
                "fy": camera.focal_length_y * sy,
                "cx": camera.principal_point_x * sx,
                "cy": camera.principal_point_y * sy,
                "native": {
                    "model": camera.model_name,
                    "width": camera.width,
                    "height": camera.height,
                    "params": [float(p) for p in camera.params],
                    "orientation": orientations.get(photo.name, 1),
                },
            }
        )
    return {"views": views}


def _kept_points(
    model: pycolmap.Reconstruction, photos: Sequence[PosedPhoto], filters: Filters
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Ids [N], positions [N, 3], errors [N] px of the mapping frame and track lengths [N] of points that pass."""
    shrink = {p.image_id: mapping_scale(p.camera.width, p.camera.height, filters.frame) for p in photos}
    centres = {p.image_id: -p.cam_from_world[:, :3].T @ p.cam_from_world[:, 3] for p in photos}
    widest = np.cos(np.radians(filters.min_angle))
    ids, xyz, error, length = [], [], [], []
    for point_id in sorted(model.point3D_ids()):
        point = model.point3D(point_id)
        seen = sorted({e.image_id for e in point.track.elements} & centres.keys())
        if len(seen) < filters.min_track:
            continue
        residual = point.error * float(np.mean([shrink[i] for i in seen]))
        if not 0 <= residual <= filters.max_error:
            continue
        rays = np.stack([centres[i] for i in seen]) - point.xyz
        rays /= np.maximum(np.linalg.norm(rays, axis=1, keepdims=True), 1e-12)
        if np.min(rays @ rays.T) > widest or not np.isfinite(point.xyz).all():
            continue
        ids.append(point_id)
        xyz.append(point.xyz)
        error.append(residual)
        length.append(len(seen))
    return np.asarray(ids, np.int64), np.asarray(xyz).reshape(-1, 3), np.asarray(error), np.asarray(length)


def _observations(
    model: pycolmap.Reconstruction,
    photos: Sequence[PosedPhoto],
    ids: np.ndarray,
    sizes: Sequence[tuple[int, int]],
    scale: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pixels [M, 2] of the working images, depth [M] in scene units, point index [M], first row per photo [V + 1]."""
    index = {int(point_id): i for i, point_id in enumerate(ids)}
    position = {int(i): model.point3D(int(i)).xyz for i in ids}
    pixels, depths, points, counts = [], [], [], [0]
    for photo, (width, height) in zip(photos, sizes, strict=True):
        seen = [p for p in model.image(photo.image_id).points2D if p.has_point3D() and p.point3D_id in index]
        xy = pinhole_points(photo.camera, np.asarray([p.xy for p in seen]).reshape(-1, 2))
        xy = xy * (width / photo.camera.width, height / photo.camera.height)
        world = np.asarray([position[p.point3D_id] for p in seen]).reshape(-1, 3)
        depth = (world @ photo.cam_from_world[2, :3] + photo.cam_from_world[2, 3]) * scale
        good = (depth > 0) & (xy >= 0).all(axis=1) & (xy <= (width, height)).all(axis=1)
        pixels.append(xy[good])
        depths.append(depth[good])
        points.append(np.asarray([index[p.point3D_id] for p in seen], np.int64)[good])
        counts.append(int(good.sum()))
    return np.concatenate(pixels), np.concatenate(depths), np.concatenate(points), np.cumsum(counts)


def _ranges(photos: Sequence[PosedPhoto], xyz: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """near, far [V], scene units: 0.1 and 99.9 percentile of the depths of the points inside each photo."""
    near, far = np.zeros(len(photos)), np.zeros(len(photos))
    for i, photo in enumerate(photos):
        local = xyz @ photo.cam_from_world[:, :3].T + photo.cam_from_world[:, 3]
        front = local[:, 2] > 0
        camera = photo.camera
        focal = np.array([camera.focal_length_x, camera.focal_length_y])
        with np.errstate(divide="ignore", invalid="ignore"):
            xy = local[:, :2] / local[:, 2:] * focal + (camera.principal_point_x, camera.principal_point_y)
        framed = front & (xy >= 0).all(axis=1) & (xy <= (camera.width, camera.height)).all(axis=1)
        depth = local[framed if framed.any() else front, 2]
        if len(depth) == 0:
            depth = np.linalg.norm(local, axis=1)
        near[i], far[i] = np.percentile(depth, [0.1, 99.9]) * scale
    return near, far


def _colours(
    images: Path,
    sizes: Sequence[tuple[int, int]],
    starts: np.ndarray,
    pixels: np.ndarray,
    point: np.ndarray,
    offsets: np.ndarray,
    count: int,
) -> np.ndarray:
    """Mean colour [N, 3] in [0, 1] of each point in the photos that observe it."""
    flat = np.memmap(images, dtype=np.uint8, mode="r")
    total, seen = np.zeros((count, 3)), np.zeros(count)
    for i, (width, height) in enumerate(sizes):
        photo = flat[3 * starts[i] : 3 * starts[i + 1]].reshape(height, width, 3)
        rows = slice(offsets[i], offsets[i + 1])
        x = np.minimum(pixels[rows, 0].astype(int), width - 1)
        y = np.minimum(pixels[rows, 1].astype(int), height - 1)
        np.add.at(total, point[rows], photo[y, x] / 255.0)
        np.add.at(seen, point[rows], 1)
    return (total / np.maximum(seen, 1)[:, None]).astype(np.float32)
