"""Shared intrinsics for photos whose estimated focal lengths agree: fewer unknowns, more stable poses."""

from __future__ import annotations

import logging
from collections import defaultdict

import numpy as np
import pycolmap

from halonerf.colmap_log import quiet_colmap

log = logging.getLogger(__name__)

MAX_DEVIATION = 0.02  # relative median absolute deviation of the focal lengths; one zoom step is more
MIN_PHOTOS = 3  # two focal lengths may agree by chance
MAX_ERROR_INCREASE = 0.05  # relative, of the reprojection error with the shared camera


def shared_groups(model: pycolmap.Reconstruction) -> dict[int, int]:
    """Camera id to the one to use instead, for photos of equal size whose separate focal lengths agree.

    EXIF data would identify cameras, but websites often remove them. Photos at several zooms, or of several cameras
    with the same sensor, do not agree and keep their own cameras.
    """
    sizes: dict[tuple[int, int], list[int]] = defaultdict(list)
    for camera_id in sorted({model.image(i).camera_id for i in model.reg_image_ids()}):
        camera = model.camera(camera_id)
        sizes[camera.width, camera.height].append(camera_id)
    replaced: dict[int, int] = {}
    for ids in sizes.values():
        focal = np.array([model.camera(i).mean_focal_length() for i in ids])
        if len(ids) < MIN_PHOTOS:
            continue
        centre = float(np.median(focal))
        near = [i for i, f in zip(ids, focal, strict=True) if abs(f / centre - 1) < 4 * MAX_DEVIATION]
        if len(near) < max(MIN_PHOTOS, 0.8 * len(ids)) or np.median(np.abs(focal / centre - 1)) > MAX_DEVIATION:
            continue
        chosen = near[int(np.argmin([abs(model.camera(i).mean_focal_length() - centre) for i in near]))]
        replaced |= {i: chosen for i in near if i != chosen}
    return replaced


def refine(model: pycolmap.Reconstruction, threads: int) -> float:
    """Bundle-adjust cameras and points in place; the mean reprojection error, px."""
    options = pycolmap.BundleAdjustmentOptions()
    options.print_summary = False
    options.ceres.use_gpu = False
    options.ceres.solver_options.num_threads = threads
    options.ceres.solver_options.max_num_iterations = 50
    config = pycolmap.BundleAdjustmentConfig()
    for image_id in model.reg_image_ids():
        config.add_image(image_id)
    config.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    with quiet_colmap():
        pycolmap.create_default_bundle_adjuster(options, config, model).solve()
    model.update_point_3d_errors()
    return float(model.compute_mean_reprojection_error())


def accept(apart: float, together: float, count: int) -> bool:
    """Whether the error with shared cameras, px, is about as low as with separate ones; logs both.

    Args:
        apart, together: mean reprojection errors, px, with separate and with shared cameras. count: replaced cameras.
    """
    good = together <= apart * (1 + MAX_ERROR_INCREASE)
    verb = "share" if good else "do not share"
    log.info("ingest: %d photos %s a camera (%.3f px shared, %.3f px separate)", count + 1, verb, together, apart)
    return good
