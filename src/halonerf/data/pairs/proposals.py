"""Which photos of a scene to match: those that share points, those that look alike. Never all with all."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pycolmap
from scipy.sparse import csr_matrix

from halonerf.colmap_log import quiet_colmap
from halonerf.data.scene.scene import Scene
from halonerf.data.sfm.pairing import SAMPLE, nearest_pairs, vlad
from halonerf.data.sfm.verification import single_threaded
from halonerf.files import write_npz
from halonerf.visualization.pictures import REC601, luminance

PHOTOS_A_FILE = 256
PEAK = 0.004  # grey in [0, 1]; `ingest.peak_threshold`, for the same reason


def by_tracks(ids: Sequence[np.ndarray], least: int) -> np.ndarray:
    """Pairs [P, 2] of photos, i < j, sorted, that saw at least `least` points in common, by a sparse product.

    Args:
        ids: [n] of each photo, numbers of the points it saw.
    """
    view = np.repeat(np.arange(len(ids)), [len(i) for i in ids])
    point = np.concatenate([np.zeros(0, np.int64), *ids])
    known, column = np.unique(point, return_inverse=True)
    saw = csr_matrix((np.ones(len(view)), (view, column.ravel())), shape=(len(ids), max(len(known), 1)))
    saw.data[:] = 1  # a point seen twice in one photo counts once
    shared = (saw @ saw.T).tocoo()
    chosen = (shared.row < shared.col) & (shared.data >= max(least, 1))
    return _sorted(np.stack([shared.row[chosen], shared.col[chosen]], axis=1))


def by_appearance(
    scene: Scene, neighbours: int, exhaustive_limit: int, seed: int, workers: int, folder: Path
) -> np.ndarray:
    """Pairs [P, 2] of photos, i < j, sorted: each with those whose largest SIFT features, aggregated, are most alike.

    Args:
        exhaustive_limit: up to so many photos every pair.
        folder: keeps what was found in the photos, so that a killed run goes on (`looks-*.npz`).
    """
    count = len(scene)
    if count <= max(exhaustive_limit, 1):
        return np.stack(np.triu_indices(count, k=1), axis=1)
    samples: list[np.ndarray] = []
    for start in range(0, count, PHOTOS_A_FILE):
        path = folder / f"looks-{start}.npz"
        if not path.is_file():
            photos = range(start, min(start + PHOTOS_A_FILE, count))
            with quiet_colmap(), ThreadPoolExecutor(max(1, workers)) as pool:
                found = list(pool.map(lambda i: _describe(scene.photo(i).numpy()), photos))
            write_npz(
                path,
                starts=np.cumsum([0, *(len(f) for f in found)]),
                descriptors=np.concatenate([np.zeros((0, 128), np.uint8), *found]),
            )
        with np.load(path, allow_pickle=False) as arrays:
            starts, raw = arrays["starts"], arrays["descriptors"].astype(np.float32) / 512.0
        samples += [raw[starts[i] : starts[i + 1]] for i in range(len(starts) - 1)]
    with single_threaded():  # the same clusters on every machine
        return nearest_pairs(vlad(samples, seed), neighbours)


def union(*pairs: np.ndarray) -> np.ndarray:
    """Every pair of any, once, sorted: [P, 2]."""
    return _sorted(np.unique(np.concatenate([np.zeros((0, 2), np.int64), *pairs]), axis=0))


def _sorted(pairs: np.ndarray) -> np.ndarray:
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))].astype(np.int64)


def _describe(photo: np.ndarray) -> np.ndarray:
    """RootSIFT descriptors of the largest features of a photo [H, W, 3], uint8 [n, 128], norm 512."""
    options = pycolmap.FeatureExtractionOptions()
    options.use_gpu, options.num_threads, options.sift.peak_threshold = False, 1, PEAK
    grey = np.rint(luminance(photo, REC601)).astype(np.uint8)
    extractor = pycolmap.FeatureExtractor.create(options, pycolmap.Device.cpu)
    points, descriptors = extractor.extract_from_uint8_array(np.ascontiguousarray(grey))
    scale = np.array([p.compute_scale() for p in points])
    return np.asarray(descriptors.data, np.uint8).reshape(-1, 128)[np.argsort(-scale, kind="stable")[:SAMPLE]]
