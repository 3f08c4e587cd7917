"""Probability maps, one `.npz` per view: 2D maps of `segment` (maps/), rendered 3D maps of `localize` (renders/).

probability   unsigned integers [P, H, W], the largest = certain, at the view's working size: uint8 for `segment`,
              uint16 for `localize`, whose maps are enlarged before they are scored
known         bool [P, H, W], `segment` only and only where something is unknown
confidence    half [P, H, W] in [0, 1], `localize` only: share of the pixel that is known
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halonerf.data.formats.names import CONCEPTS, MAPS, RENDERS, THRESHOLDS, view_file
from halonerf.files import write_json, write_npz
from halonerf.thresholds import HALF
from halonerf.visualization.pictures import to_uint8

ConceptMaps = dict[str, NDArray[np.floating]]  # concept to its map [h, w], in [0, 1]


def segment_map_path(folder: Path, view: int) -> Path:
    """Path of a view's 2D maps in a `segment` folder; there is a file where something is known."""
    return view_file(folder / MAPS, view, ".npz")


def render_path(folder: Path, view: int, ending: str = ".npz") -> Path:
    """Path of a view's rendered maps in a `localize` folder, or of its rendered picture with the ending ".png"."""
    return view_file(folder / RENDERS, view, ending)


def write_maps(
    path: Path,
    probability: NDArray[np.floating],
    known: NDArray[np.bool_] | None = None,
    confidence: NDArray[np.floating] | None = None,
    bits: int = 8,
    camera: NDArray[np.float64] | None = None,
) -> None:
    """Atomically write the maps of a view: each [P, H, W], probability and confidence in [0, 1].

    bits: of a probability, 8 or 16. camera: of a view that is no photo's (`rendering_maps`).
    """
    levels = np.dtype(f"uint{bits}")
    scaled = np.clip(probability, 0, 1) * np.float64(np.iinfo(levels).max)
    arrays: dict[str, Any] = {"probability": scaled.round().astype(levels)}
    if known is not None and not known.all():
        arrays["known"] = known
    if confidence is not None:
        arrays["confidence"] = confidence.astype(np.float16)
    if camera is not None:
        arrays["camera"] = camera
    write_npz(path, compress=True, **arrays)


def read_levels(path: Path) -> NDArray[np.uint8]:
    """Probabilities in 256 levels, uint8 [P, H, W], 255 = certain."""
    with np.load(path, allow_pickle=False) as stored:
        levels = stored["probability"]
    return levels if levels.dtype == np.uint8 else to_uint8(_share(levels))


def read_probability(path: Path) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Probabilities [P, H, W] in [0, 1], and which are known, bool [P, H, W]."""
    with np.load(path, allow_pickle=False) as stored:
        probability = _share(stored["probability"])
        known = stored["known"] if "known" in stored else np.ones(probability.shape, dtype=bool)
    return probability, known


def _share(levels: NDArray[np.unsignedinteger]) -> NDArray[np.float32]:
    """Levels of an unsigned type as shares of the largest."""
    return levels.astype(np.float32) / np.float32(np.iinfo(levels.dtype).max)


def read_maps(path: Path, wanted: Mapping[str, int]) -> ConceptMaps | None:
    """Map of each concept, [h, w] float32 in [0, 1] at working size, unknown as 0; None without a file.

    Args:
        path: of a view's maps, `segment_map_path` or `render_path`.
        wanted: concept to its index in the file.
    """
    if not path.is_file():
        return None
    probability, known = read_probability(path)
    return {concept: probability[index] * known[index] for concept, index in wanted.items()}


def read_concepts(folder: Path) -> list[str]:
    """Concepts of a finished `segment` or `localize` folder, in the order of its maps."""
    return json.loads((folder / CONCEPTS).read_text(encoding="utf-8"))


def write_thresholds(folder: Path, thresholds: Mapping[str, Sequence[float]]) -> None:
    """Write the threshold of each concept, in the order of the maps, of the "2d" and of the "3d" maps."""
    write_json(
        folder / THRESHOLDS, {name: [round(value, 6) for value in values] for name, values in thresholds.items()}
    )


def read_thresholds(folder: Path) -> dict[str, list[float]]:
    """What `write_thresholds` wrote into a `localize` folder; one half for all concepts where there is no such file."""
    path = folder / THRESHOLDS
    if not path.is_file():
        return dict.fromkeys(("2d", "3d"), [HALF] * len(read_concepts(folder)))
    return json.loads(path.read_text(encoding="utf-8"))
