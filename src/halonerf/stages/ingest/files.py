"""Files between the steps of `ingest`: facts, features and verified pairs, so that a killed run resumes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from halonerf.data.photo_io import PhotoFacts
from halonerf.data.sfm.verification import VerifiedPair
from halonerf.files import write_json, write_npz
from halonerf.sift import SiftFeatures


def save_facts(path: Path, facts: Sequence[PhotoFacts]) -> None:
    """Atomically write facts about photos as JSON."""
    write_json(path, [dataclasses.asdict(f) for f in facts])


def load_facts(paths: Sequence[Path]) -> list[PhotoFacts]:
    """Facts of several files, in order."""
    return [PhotoFacts(**entry) for path in paths for entry in json.loads(path.read_text(encoding="utf-8"))]


def save_features(path: Path, features: Sequence[SiftFeatures]) -> None:
    """Atomically write the features of several photos as one chunk."""
    arrays: dict[str, Any] = {}
    for i, feature in enumerate(features):
        arrays |= {f"points{i}": feature.points, f"scale{i}": feature.scale, f"descriptors{i}": feature.descriptors}
    write_npz(path, **arrays)


class FeatureFiles:
    """Features of photo i, read from files of `chunk` photos each, of which the last used stay in memory."""

    def __init__(self, paths: Sequence[Path], chunk: int) -> None:
        self._chunk = chunk

        @lru_cache(maxsize=64)
        def read(index: int) -> list[SiftFeatures]:
            with np.load(paths[index], allow_pickle=False) as arrays:
                count = sum(key.startswith("points") for key in arrays.files)
                fields = [[arrays[f"{name}{i}"] for name in ("points", "scale", "descriptors")] for i in range(count)]
                return [SiftFeatures(*each) for each in fields]

        self._read = read

    def __getitem__(self, index: int) -> SiftFeatures:
        return self._read(index // self._chunk)[index % self._chunk]


def save_pairs(path: Path, pairs: Sequence[VerifiedPair]) -> None:
    """Atomically write verified pairs."""
    write_npz(
        path,
        head=np.asarray([(p.first, p.second, p.tentative, p.config) for p in pairs], np.int64).reshape(-1, 4),
        matrices=np.asarray([p.matrices for p in pairs], np.float64).reshape(-1, 3, 3, 3),
        starts=np.cumsum([0, *(len(p.inliers) for p in pairs)]),
        inliers=np.concatenate([np.zeros((0, 2), np.uint32), *(p.inliers for p in pairs)]),
    )


def load_pairs(paths: Sequence[Path]) -> list[VerifiedPair]:
    """Verified pairs of several files, sorted by photos."""
    pairs = []
    for path in paths:
        with np.load(path, allow_pickle=False) as arrays:
            head, matrices, starts, inliers = (arrays[k] for k in ("head", "matrices", "starts", "inliers"))
        for i, (first, second, tentative, config) in enumerate(head.tolist()):
            found = inliers[starts[i] : starts[i + 1]].astype(np.uint32)
            pairs.append(VerifiedPair(first, second, tentative, config, matrices[i], found))
    return sorted(pairs, key=lambda p: (p.first, p.second))
