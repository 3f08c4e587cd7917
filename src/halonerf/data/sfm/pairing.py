"""Which photos to compare: all of them, or those that look alike and those taken one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.cluster import MiniBatchKMeans
from threadpoolctl import threadpool_limits

from halonerf.data.sfm.features import Features

WORDS = 64  # centres of the aggregated descriptor; Jégou et al. 2010 use 16 to 256
SAMPLE = 512  # descriptors a photo that take part: the largest, which survive a change of scale
ROWS = 1024  # photos compared with all others at once


def propose_pairs(
    features: Sequence[Features], exhaustive_limit: int, neighbours: int, sequence: int, seed: int
) -> np.ndarray:
    """Pairs [P, 2] of photo indices, first < second, sorted.

    Args:
        exhaustive_limit: up to so many photos every pair is proposed.
        neighbours: beyond, the photos with the most similar aggregated descriptors, for each photo.
        sequence: and the photos that follow each one in name order.
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
    """Each photo with the `neighbours` photos whose vectors [N, D] are most like its own; [P, 2], first < second.

    Sorted. Rows of the similarity are made a block at a time, so that memory grows with N.
    """
    pairs: set[tuple[int, int]] = set()
    for start in range(0, len(vectors), ROWS):
        similarity = vectors[start : start + ROWS] @ vectors.T
        similarity[np.arange(len(similarity)), start + np.arange(len(similarity))] = -np.inf
        nearest = np.argsort(-similarity, axis=1, kind="stable")[:, : min(neighbours, len(vectors) - 1)]
        pairs |= {(min(start + i, int(j)), max(start + i, int(j))) for i, row in enumerate(nearest) for j in row}
    return np.asarray(sorted(pairs), dtype=np.int64).reshape(-1, 2)


def aggregate(features: Sequence[Features], seed: int) -> np.ndarray:
    """One vector a photo, [N, WORDS * 128], unit length: VLAD (Jégou et al., CVPR 2010) with each word's residual
    normalised (Arandjelović and Zisserman, CVPR 2013). The words are those of the collection itself.
    """
    return vlad([f.descriptors[:SAMPLE].astype(np.float32) / 512.0 for f in features], seed)


def vlad(samples: Sequence[np.ndarray], seed: int) -> np.ndarray:
    """As `aggregate`, of descriptors [n, 128] a photo, unit length."""
    pool = np.concatenate(samples)
    if len(pool) < WORDS:
        return np.zeros((len(samples), WORDS * 128), np.float32)
    subset = pool[np.random.default_rng(seed).permutation(len(pool))[:100_000]]
    words = MiniBatchKMeans(WORDS, batch_size=4096, n_init=1, max_iter=30, random_state=seed).fit(subset)
    vectors = np.zeros((len(samples), WORDS, 128), np.float32)
    for row, sample in zip(vectors, samples, strict=True):
        if len(sample):
            label = words.predict(sample)
            np.add.at(row, label, sample - words.cluster_centers_[label])
    vectors /= np.maximum(np.linalg.norm(vectors, axis=2, keepdims=True), 1e-9)
    flat = vectors.reshape(len(samples), -1)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)
