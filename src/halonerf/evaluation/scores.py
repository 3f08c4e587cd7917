"""Metrics of probability maps against ground-truth masks, and their means over photos and concepts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halonerf.metrics import average_precision, dice, iou, mean_defined, precision_recall, soft_balanced_accuracy
from halonerf.thresholds import HALF
from halonerf.visualization.pictures import to_uint8

METRIC_NAMES = ("ap", "soft_balanced_accuracy", "iou", "dice")
METHODS = ("2d", "3d")
BINS = 256  # of the pooled precision-recall curves

Scores = dict[str, float | None]


def score_map(
    values: NDArray[Any], truth: NDArray[np.bool_], known: NDArray[np.bool_], threshold: float = HALF
) -> Scores:
    """All `METRIC_NAMES` of one map; None where a metric is not defined.

    Args:
        values: [H, W], floats in [0, 1], or uint8 of 255 times the probability.
        truth: bool [H, W]. known: bool [H, W], the pixels that count.
        threshold: probability from which a pixel counts as found, for IoU and Dice.

    Average precision is computed at 65,536 levels, of uint8 at its 256; the other metrics from the values themselves.
    """
    levels, probability = values, values
    if values.dtype == np.uint8:
        probability = values / 255.0
    else:
        levels = np.round(np.clip(values, 0.0, 1.0) * 65535).astype(np.uint16)
    return {
        "ap": finite(average_precision(levels, truth, known)),
        "soft_balanced_accuracy": finite(soft_balanced_accuracy(probability, truth, known)),
        "iou": finite(iou(probability, truth, threshold, known)),
        "dice": finite(dice(probability, truth, threshold, known)),
    }


def missing_map_scores() -> Scores:
    """The scores of a concept that has a mask and no map: 0 in every metric."""
    return dict.fromkeys(METRIC_NAMES, 0.0)


def histogram(values: NDArray[Any], truth: NDArray[np.bool_], known: NDArray[np.bool_]) -> dict[str, list[int]]:
    """Counts of "positive" and of "all" known pixels in `BINS` bins of probability, lowest first.

    Arguments as in `score_map`.
    """
    bins = values if values.dtype == np.uint8 else to_uint8(values)
    return {
        "positive": np.bincount(bins[known & truth], minlength=BINS).tolist(),
        "all": np.bincount(bins[known], minlength=BINS).tolist(),
    }


def pooled_curve(
    histograms: Iterable[Mapping[str, Sequence[int]]],
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Precision and recall of the pooled pixels of several photos, highest threshold first, [BINS] each.

    NaN where no pixel reaches the threshold. histograms: what `histogram` gave for each photo.
    """
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
            **{metric: {method: _mean(rows, method, metric) for method in METHODS} for metric in METRIC_NAMES},
            "images": len(rows),
            "images_2d": len(both),
            "missing": concept in set(missing),
        }
        for method in METHODS:
            same[method].append(nan(_mean(both, method, "ap")))
    means = {
        metric: {
            method: finite(mean_defined(nan(entry[metric][method]) for entry in table.values())) for method in METHODS
        }
        for metric in METRIC_NAMES
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


def metric_rows(scene: str, photos: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per photo, concept and method: scene, photo, split, concept, method, and the metrics.

    photos: what `Evaluate` wrote for each.
    """
    return [
        {"scene": scene, "photo": photo["photo"], "split": photo["split"], "concept": concept, "method": method,
         **scores[method]}
        for photo in photos
        for concept, scores in photo["concepts"].items()
        for method in METHODS
        if scores[method] is not None
    ]  # fmt: skip


def csv_row(row: Mapping[str, Any]) -> dict[str, object]:
    """A row for a CSV file: metrics with six decimals, "" where not defined."""
    return {**row, **{name: "" if row[name] is None else f"{row[name]:.6f}" for name in METRIC_NAMES}}


def finite(value: float) -> float | None:
    """A float for JSON: None for NaN and infinity."""
    return float(value) if np.isfinite(value) else None


def nan(value: float | None) -> float:
    """NaN for None."""
    return float("nan") if value is None else value


def _mean(rows: Sequence[Mapping[str, Any]], method: str, metric: str) -> float | None:
    return finite(mean_defined(nan(row[method][metric]) for row in rows if row[method] is not None))
