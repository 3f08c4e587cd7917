"""Figures of one map against one mask, and their means over photos and concepts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halonerf.metrics import average_precision, dice, iou, mean_defined, precision_recall, soft_balanced_accuracy

FIGURES = ("ap", "soft_balanced_accuracy", "iou", "dice")
METHODS = ("2d", "3d")
BINS = 256  # of the pooled precision-recall curves

Scores = dict[str, float | None]


def score_map(drawn: NDArray[Any], truth: NDArray[np.bool_], known: NDArray[np.bool_]) -> Scores:
    """All `FIGURES` of one map [H, W], in [0, 1] or in bytes of p * 255; None where a figure is not defined.

    Average precision is taken at 65,536 levels, of bytes at their 256; the other figures from the values themselves.
    """
    levels, probability = drawn, drawn
    if drawn.dtype == np.uint8:
        probability = drawn / 255.0
    else:
        levels = np.round(np.clip(drawn, 0.0, 1.0) * 65535).astype(np.uint16)
    return {
        "ap": finite(average_precision(levels, truth, known)),
        "soft_balanced_accuracy": finite(soft_balanced_accuracy(probability, truth, known)),
        "iou": finite(iou(probability, truth, known=known)),
        "dice": finite(dice(probability, truth, known=known)),
    }


def no_map() -> Scores:
    """The figures of a concept that has a mask and no map: nothing was found."""
    return dict.fromkeys(FIGURES, 0.0)


def histogram(drawn: NDArray[Any], truth: NDArray[np.bool_], known: NDArray[np.bool_]) -> dict[str, list[int]]:
    """Positive and all known pixels in `BINS` bins of probability, lowest first, of a map as `score_map` takes it."""
    bins = drawn if drawn.dtype == np.uint8 else np.round(np.clip(drawn, 0.0, 1.0) * (BINS - 1)).astype(np.uint8)
    return {
        "positive": np.bincount(bins[known & truth], minlength=BINS).tolist(),
        "all": np.bincount(bins[known], minlength=BINS).tolist(),
    }


def curve(histograms: Iterable[Mapping[str, Sequence[int]]]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Precision and recall of several photos' pixels pooled, highest threshold first, [BINS] each; NaN before any."""
    positive, total = np.zeros(BINS, np.int64), np.zeros(BINS, np.int64)
    for entry in histograms:
        positive += np.asarray(entry["positive"])
        total += np.asarray(entry["all"])
    return precision_recall(positive[::-1], total[::-1])


def summarise(photos: Sequence[Mapping[str, Any]], concepts: Sequence[str], missing: Iterable[str]) -> dict[str, Any]:
    """Means over photos, then over concepts.

    Args:
        photos: what `Evaluate` wrote for each: {"concepts": {name: {"2d": Scores | None, "3d": Scores}}}.
        concepts: those with a mask in at least one photo.
        missing: those of them that have no map.
    """
    table: dict[str, Any] = {}
    same: dict[str, list[float]] = {method: [] for method in METHODS}
    for concept in concepts:
        rows = [photo["concepts"][concept] for photo in photos if concept in photo["concepts"]]
        both = [row for row in rows if row["2d"] is not None]
        table[concept] = {
            **{figure: {method: _mean(rows, method, figure) for method in METHODS} for figure in FIGURES},
            "images": len(rows),
            "images_2d": len(both),
            "missing": concept in set(missing),
        }
        for method in METHODS:
            same[method].append(nan(_mean(both, method, "ap")))
    means = {
        figure: {
            method: finite(mean_defined(nan(entry[figure][method]) for entry in table.values())) for method in METHODS
        }
        for figure in FIGURES
    }
    return {
        "concepts": table,
        "map": {"segmenter_2d": means["ap"]["2d"], "halonerf_3d": means["ap"]["3d"]},
        "map_same_photos": {
            "segmenter_2d": finite(mean_defined(same["2d"])),
            "halonerf_3d": finite(mean_defined(same["3d"])),
        },
        "mean": means,
    }


def figure_rows(scene: str, photos: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What `Evaluate` wrote for each photo as rows: scene, photo, split, concept, method, and the figures."""
    return [
        {"scene": scene, "photo": photo["photo"], "split": photo["split"], "concept": concept, "method": method,
         **scores[method]}
        for photo in photos
        for concept, scores in photo["concepts"].items()
        for method in METHODS
        if scores[method] is not None
    ]  # fmt: skip


def as_text(row: Mapping[str, Any]) -> dict[str, object]:
    """A row for a CSV file: figures of six digits, nothing where one is not defined."""
    figures = {figure: "" if row[figure] is None else f"{row[figure]:.6f}" for figure in FIGURES}
    return {**row, **figures}


def finite(value: float) -> float | None:
    """None for what JSON cannot say."""
    return float(value) if np.isfinite(value) else None


def nan(value: float | None) -> float:
    """NaN for what is not defined."""
    return float("nan") if value is None else value


def _mean(rows: Sequence[Mapping[str, Any]], method: str, figure: str) -> float | None:
    return finite(mean_defined(nan(row[method][figure]) for row in rows if row[method] is not None))
