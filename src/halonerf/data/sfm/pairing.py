"""Pairs of photos to match: all, or those of similar aggregated descriptors and those next to each other by name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.cluster import MiniBatchKMeans
from threadpoolctl import threadpool_limits

from halonerf.sift import SiftFeatures

VISUAL_WORDS = 64  # centres of the aggregated descriptor; Jégou et al. 2010 use 16 to 256
MAX_DESCRIPTORS = 512  # aggregated per photo: those of largest scale, which survive a change of scale
BLOCK_ROWS = 1024  # photos compared with all others at once


def propose_pairs(
    features: Sequence[SiftFeatures], exhaustive_limit: int, neighbours: int, sequence: int, seed: int
) -> np.ndarray:
    """Pairs [P, 2] of photo indices, first < second, sorted.

    Args:
        exhaustive_limit: number of photos up to which every pair is proposed.
        neighbours: beyond it, photos per photo with the most similar aggregated descriptors.
        sequence: beyond it, photos per photo that follow it in name order.
        seed: of the clusters of descriptors.
    """
    count = len(features)
    if count <= exhaustive_limit:
        return np.stack(np.triu_indices(count, k=1), axis=1)
    with threadpool_limits(1):  # the same clusters on every machine; batches are too small for threads to pay
        vectors = aggregate(features, seed)
    pairs = {tuple(pair) for pair in nearest_pairs(vectors, neighbours).tolist()}
    pairs |= {(i, j) for i in range(count) for j in range(i + 1, min(i + 1 + sequence, count))}
    return np.asarray(sorted(pairs), dtype=np.int64)


def nearest_pairs(vectors: np.ndarray, neighbours: int) -> np.ndarray:
    """Pairs [P, 2], first < second, sorted, of each photo and the `neighbours` photos with the most similar vectors.

    Rows of the similarity matrix are computed in blocks, so that memory grows with N, not with its square.

    Args:
        vectors: [N, D], of unit length.
    """
    pairs: set[tuple[int, int]] = set()
    for start in range(0, len(vectors), BLOCK_ROWS):
        similarity = vectors[start : start + BLOCK_ROWS] @ vectors.T
        similarity[np.arange(len(similarity)), start + np.arange(len(similarity))] = -np.inf
        nearest = np.argsort(-similarity, axis=1, kind="stable")[:, : min(neighbours, len(vectors) - 1)]
        pairs |= {(min(start + i, int(j)), max(start + i, int(j))) for i, row in enumerate(nearest) for j in row}
    return np.asarray(sorted(pairs), dtype=np.int64).reshape(-1, 2)


def aggregate(features: Sequence[SiftFeatures], seed: int) -> np.ndarray:
    """VLAD vectors of photos, [N, VISUAL_WORDS * 128], of unit length: see `vlad`."""
    return vlad([f.descriptors[:MAX_DESCRIPTORS].astype(np.float32) / 512.0 for f in features], seed)


def vlad(samples: Sequence[np.ndarray], seed: int) -> np.ndarray:
    """VLAD vectors (Jégou et al., CVPR 2010) with each visual word's residual normalised (Arandjelović and Zisserman,
    CVPR 2013), [N, VISUAL_WORDS * 128], of unit length. The visual words are clusters of the photos' own descriptors.

    Args:
        samples: per photo, descriptors [n, 128] of unit length.
        seed: of the clusters.
    """
    pool = np.concatenate(samples)
    if len(pool) < VISUAL_WORDS:
        return np.zeros((len(samples), VISUAL_WORDS * 128), np.float32)
    subset = pool[np.random.default_rng(seed).permutation(len(pool))[:100_000]]
    words = MiniBatchKMeans(VISUAL_WORDS, batch_size=4096, n_init=1, max_iter=30, random_state=seed).fit(subset)
    vectors = np.zeros((len(samples), VISUAL_WORDS, 128), np.float32)
    for row, sample in zip(vectors, samples, strict=True):
        if len(sample):
            label = words.predict(sample)
            np.add.at(row, label, sample - words.cluster_centers_[label])
    vectors /= np.maximum(np.linalg.norm(vectors, axis=2, keepdims=True), 1e-9)
    flat = vectors.reshape(len(samples), -1)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)
