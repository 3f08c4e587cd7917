"""Pairs of a scene's photos to match: photos that share 3D points, and photos of similar appearance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

from halonerf.data.scene.scene import Scene
from halonerf.data.sfm.pairing import MAX_DESCRIPTORS, nearest_pairs, vlad
from halonerf.data.sfm.verification import single_threaded
from halonerf.files import write_npz
from halonerf.sift import extract_sift
from halonerf.visualization.pictures import REC601, luminance

PHOTOS_PER_FILE = 256
MAX_FEATURES = 8192  # per photo; COLMAP's own limit
PEAK_THRESHOLD = 0.004  # grey in [0, 1]; `ingest.peak_threshold`, for the same reason


def by_tracks(ids: Sequence[np.ndarray], min_shared: int) -> np.ndarray:
    """Pairs [P, 2] of photos, i < j, sorted, that observe at least `min_shared` common points, by a sparse product.

    Args:
        ids: per photo, indices [n] of the points that it observes.
    """
    view = np.repeat(np.arange(len(ids)), [len(i) for i in ids])
    point = np.concatenate([np.zeros(0, np.int64), *ids])
    known, column = np.unique(point, return_inverse=True)
    observed = csr_matrix((np.ones(len(view)), (view, column.ravel())), shape=(len(ids), max(len(known), 1)))
    observed.data[:] = 1  # a point observed twice in one photo counts once
    shared = (observed @ observed.T).tocoo()
    chosen = (shared.row < shared.col) & (shared.data >= max(min_shared, 1))
    return _sorted(np.stack([shared.row[chosen], shared.col[chosen]], axis=1))


def by_appearance(
    scene: Scene, neighbours: int, exhaustive_limit: int, seed: int, workers: int, folder: Path
) -> np.ndarray:
    """Pairs [P, 2] of photos, i < j, sorted: each photo with those of the most similar aggregated SIFT descriptors.

    Held-out photos are in no pair, and change none.

    Args:
        neighbours: similar photos per photo.
        exhaustive_limit: number of photos up to which every pair is given.
        seed: of the clusters of descriptors.
        workers: threads.
        folder: keeps descriptors of the photos (`appearance-*.npz`), so that a killed run resumes.
    """
    views = scene.indices("train")
    numbers, count = np.asarray(views, np.int64), len(views)
    if count <= max(exhaustive_limit, 1):
        return numbers[np.stack(np.triu_indices(count, k=1), axis=1)]
    samples: list[np.ndarray] = []
    for start in range(0, count, PHOTOS_PER_FILE):
        path = folder / f"appearance-{start}.npz"
        if not path.is_file():
            greys = [_grey(scene.photo(i).numpy()) for i in views[start : start + PHOTOS_PER_FILE]]
            found = extract_sift(greys, MAX_FEATURES, PEAK_THRESHOLD, max(1, workers))
            largest = [features.descriptors[:MAX_DESCRIPTORS] for features in found]
            write_npz(path, starts=np.cumsum([0, *map(len, largest)]), descriptors=np.concatenate(largest))
        with np.load(path, allow_pickle=False) as arrays:
            starts, raw = arrays["starts"], arrays["descriptors"].astype(np.float32) / 512.0
        samples += [raw[starts[i] : starts[i + 1]] for i in range(len(starts) - 1)]
    with single_threaded():  # the same clusters on every machine
        return numbers[nearest_pairs(vlad(samples, seed), neighbours)]


def union(*pairs: np.ndarray) -> np.ndarray:
    """Union of sets of pairs, each [P, 2]; sorted, each pair once."""
    return _sorted(np.unique(np.concatenate([np.zeros((0, 2), np.int64), *pairs]), axis=0))


def _sorted(pairs: np.ndarray) -> np.ndarray:
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))].astype(np.int64)


def _grey(photo: np.ndarray) -> np.ndarray:
    """Grey, uint8 [H, W], of a photo, uint8 [H, W, 3]."""
    return np.rint(luminance(photo, REC601)).astype(np.uint8)
