"""Cameras and 3D points from verified pairs by COLMAP's mappers; copies of models with other photos or pixels."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pycolmap

from halonerf.colmap_log import quiet_colmap
from halonerf.data.photo_io import PhotoFacts
from halonerf.data.sfm.verification import VerifiedPair
from halonerf.sift import SiftFeatures

log = logging.getLogger(__name__)

UNKNOWN_FOCAL = 1.2  # long sides; COLMAP's default without EXIF data, about 30 mm on full frame


def make_cameras(facts: Sequence[PhotoFacts], scales: Sequence[float]) -> list[pycolmap.Camera]:
    """One camera per photo in its mapping frame, with the focal length of its EXIF data where known.

    Photos of one camera at one zoom share a `camera_id`, so that the mapper refines them together. Model:
    SIMPLE_RADIAL (f, cx, cy, k), which COLMAP recommends for photos of unknown cameras.

    Args:
        scales: per photo, pixels of the mapping frame per pixel of the upright original.
    """
    ids: dict[str, int] = {}
    cameras = []
    for index, (fact, scale) in enumerate(zip(facts, scales, strict=True)):
        camera_id = ids.setdefault(fact.camera or f"photo {index}", len(ids) + 1)
        width, height = fact.width * scale, fact.height * scale
        focal = fact.focal * scale if fact.focal else UNKNOWN_FOCAL * max(width, height)
        camera = pycolmap.Camera(
            camera_id=camera_id,
            model="SIMPLE_RADIAL",
            width=max(1, round(width)),
            height=max(1, round(height)),
            params=[focal, width / 2, height / 2, 0.0],
        )
        camera.has_prior_focal_length = fact.focal is not None
        cameras.append(camera)
    return cameras


def write_database(
    path: Path,
    names: Sequence[str],
    cameras: Sequence[pycolmap.Camera],
    features: Sequence[SiftFeatures],
    pairs: Sequence[VerifiedPair],
) -> None:
    """Write a new COLMAP database; photo `i` gets the image id `i + 1`, pairs keep their order."""
    with pycolmap.Database.open(path) as database:
        for camera in {c.camera_id: c for c in cameras}.values():
            database.write_camera(camera, use_camera_id=True)
            rig = pycolmap.Rig(rig_id=camera.camera_id)
            rig.add_ref_sensor(camera.sensor_id)
            database.write_rig(rig, use_rig_id=True)
        for index, (name, camera, feature) in enumerate(zip(names, cameras, features, strict=True)):
            image = pycolmap.Image(name=name, camera_id=camera.camera_id, image_id=index + 1)
            image.frame_id = index + 1
            frame = pycolmap.Frame(frame_id=index + 1, rig_id=camera.camera_id)
            frame.add_data_id(image.data_id)
            database.write_frame(frame, use_frame_id=True)
            database.write_image(image, use_image_id=True)
            database.write_keypoints(index + 1, np.ascontiguousarray(feature.points, dtype=np.float32))
        for pair in pairs:
            ids = pair.first + 1, pair.second + 1
            geometry = pycolmap.TwoViewGeometry()
            geometry.config = pycolmap.TwoViewGeometryConfiguration(pair.config)
            for field, matrix in zip(("E", "F", "H"), pair.matrices, strict=True):
                if np.any(matrix):
                    setattr(geometry, field, matrix)
            geometry.inlier_matches = pair.inliers
            database.write_matches(*ids, pair.inliers)
            database.write_two_view_geometry(*ids, geometry)


def run_mapper(
    database: Path, mapper: str, seed: int, threads: int, init_inliers: int, pose_inliers: int, min_angle: float
) -> list[pycolmap.Reconstruction]:
    """Models that the mapper finds, largest first (by photos, then points).

    Args:
        mapper: "incremental" (Schönberger and Frahm, CVPR 2016) or "global" (Pan et al., ECCV 2024).
        threads: 1 gives the same result on every run.
        init_inliers, pose_inliers: correspondences that the first pair, and each further photo, must have.
        min_angle: degrees, smallest triangulation angle of a point.
    """
    pycolmap.set_random_seed(seed)
    with tempfile.TemporaryDirectory(prefix="halonerf-") as scratch, quiet_colmap():
        if mapper == "incremental":
            chosen = _incremental_options(seed, threads, init_inliers, pose_inliers, min_angle)
            registered = iter(range(1, 1 << 30))
            found = pycolmap.incremental_mapping(
                database,
                scratch,
                scratch,
                chosen,
                next_image_callback=lambda: log.info("ingest: mapping, %d photos registered", next(registered)),
            )
        else:
            found = pycolmap.global_mapping(database, scratch, scratch, _global_options(seed, threads, min_angle))
    return sorted(found.values(), key=lambda m: (-m.num_reg_images(), -m.num_points3D()))


def _incremental_options(
    seed: int, threads: int, init_inliers: int, pose_inliers: int, min_angle: float
) -> pycolmap.IncrementalPipelineOptions:
    options = pycolmap.IncrementalPipelineOptions()
    options.random_seed, options.num_threads = seed, threads
    options.extract_colors = False
    options.min_model_size = 2
    options.ba_use_gpu = False
    options.mapper.init_min_num_inliers = init_inliers
    options.mapper.abs_pose_min_num_inliers = pose_inliers
    options.mapper.filter_min_tri_angle = min_angle
    options.mapper.random_seed = options.triangulation.random_seed = seed
    options.mapper.num_threads = threads
    return options


def _global_options(seed: int, threads: int, min_angle: float) -> pycolmap.GlobalPipelineOptions:
    options = pycolmap.GlobalPipelineOptions()
    options.random_seed, options.num_threads = seed, threads
    options.min_model_size = 2
    options.mapper.num_threads = threads
    options.mapper.min_tri_angle_deg = min_angle
    options.mapper.global_positioning.use_gpu = False
    options.mapper.bundle_adjustment.ceres.use_gpu = False
    options.mapper.random_seed = seed
    options.mapper.rotation_averaging.random_seed = seed
    options.mapper.global_positioning.random_seed = seed
    options.mapper.retriangulation.random_seed = seed
    return options


def rebuild(
    model: pycolmap.Reconstruction,
    keep: Mapping[int, tuple[str, float, int, int]],
    replace: Mapping[int, int] | None = None,
) -> pycolmap.Reconstruction:
    """A copy of `model` with some of its photos, renamed and in other pixels; world frame and ids are kept.

    Args:
        keep: image id to (name, factor from the model's pixels to the new ones, new width, new height, px).
        replace: camera id to the id of the camera to use instead.
    """
    replace = replace or {}
    copy = pycolmap.Reconstruction()
    kept_index: dict[int, np.ndarray] = {}
    for image_id in sorted(keep):
        name, factor, width, height = keep[image_id]
        image = model.image(image_id)
        camera_id = replace.get(image.camera_id, image.camera_id)
        if not copy.exists_camera(camera_id):
            copy.add_camera_with_trivial_rig(scaled_camera(model.camera(camera_id), factor, width, height))
        seen = [p for p in image.points2D if p.has_point3D()]
        remap = np.full(len(image.points2D), -1)
        remap[[i for i, p in enumerate(image.points2D) if p.has_point3D()]] = np.arange(len(seen))
        kept_index[image_id] = remap
        xy = np.asarray([p.xy for p in seen], dtype=np.float64).reshape(-1, 2) * factor
        twin = pycolmap.Image(name=name, keypoints=xy, camera_id=camera_id, image_id=image_id)
        copy.add_image_with_trivial_frame(twin, image.cam_from_world())
    for point_id in sorted(model.point3D_ids()):
        point = model.point3D(point_id)
        elements = [
            pycolmap.TrackElement(e.image_id, int(kept_index[e.image_id][e.point2D_idx]))
            for e in point.track.elements
            if e.image_id in kept_index
        ]
        if len({e.image_id for e in elements}) >= 2:
            copy.add_point3D(point.xyz, pycolmap.Track(elements), point.color)
    copy.update_point_3d_errors()
    return copy


def scaled_camera(camera: pycolmap.Camera, factor: float, width: int, height: int) -> pycolmap.Camera:
    """`camera` for images resampled by `factor` to `width` x `height` px; distortion is in normalised units."""
    twin = pycolmap.Camera(camera_id=camera.camera_id, model=camera.model, width=width, height=height)
    params = np.array(camera.params, dtype=np.float64)
    params[list(camera.focal_length_idxs())] *= factor
    params[list(camera.principal_point_idxs())] *= factor
    twin.params = params.tolist()
    twin.has_prior_focal_length = camera.has_prior_focal_length
    return twin
