"""Photos that turn out to come from one camera share it: fewer unknowns, steadier poses."""

from __future__ import annotations

import logging
from collections import defaultdict

import numpy as np
import pycolmap

from halonerf.colmap_log import quiet_colmap

log = logging.getLogger(__name__)

AGREEMENT = 0.02  # relative spread of focal lengths estimated apart, median absolute deviation; one zoom step is more
FEWEST = 3  # photos; two that agree may do so by chance
MAX_LOSS = 0.05  # relative rise of the reprojection error that the shared camera may cost


def shared_groups(model: pycolmap.Reconstruction) -> dict[int, int]:
    """Camera id -> the one to use instead, for photos of equal size whose separate focal lengths agree.

    EXIF would say it directly, but is often stripped from photos that went through a website. Photos of one camera
    at several zooms, or of several cameras with the same sensor, do not agree and keep their own.
    """
    sizes: dict[tuple[int, int], list[int]] = defaultdict(list)
    for camera_id in sorted({model.image(i).camera_id for i in model.reg_image_ids()}):
        camera = model.camera(camera_id)
        sizes[camera.width, camera.height].append(camera_id)
    replaced: dict[int, int] = {}
    for ids in sizes.values():
        focal = np.array([model.camera(i).mean_focal_length() for i in ids])
        if len(ids) < FEWEST:
            continue
        centre = float(np.median(focal))
        near = [i for i, f in zip(ids, focal, strict=True) if abs(f / centre - 1) < 4 * AGREEMENT]
        if len(near) < max(FEWEST, 0.8 * len(ids)) or np.median(np.abs(focal / centre - 1)) > AGREEMENT:
            continue
        chosen = near[int(np.argmin([abs(model.camera(i).mean_focal_length() - centre) for i in near]))]
        replaced |= {i: chosen for i in near if i != chosen}
    return replaced


def refine(model: pycolmap.Reconstruction, threads: int) -> float:
    """Bundle-adjust cameras and points in place; gives the mean reprojection error, px."""
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
    """Whether the shared camera explains the photos as well as their own ones did (errors in px); says so."""
    good = together <= apart * (1 + MAX_LOSS)
    word = "share" if good else "do not share"
    log.info("ingest: %d photos %s a camera (%.3f px together, %.3f px apart)", count + 1, word, together, apart)
    return good
