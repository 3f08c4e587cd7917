"""Metrics of probability maps and renderings against ground truth, as pure functions on numpy arrays.

Every function takes `known`, a bool array of the pixels that count; without it all do. Where a metric is not defined
(no positive pixel for average precision, an empty union for IoU) the result is NaN, and `mean_defined` leaves it out:
a photo that cannot be scored is neither a success nor a failure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from halonerf.errors import BadInput

Array = NDArray[Any]


def average_precision(score: Array, truth: Array, known: Array | None = None) -> float:
    """Area under the precision-recall curve, the sum over thresholds n of (R_n - R_(n-1)) P_n.

    Equal to scikit-learn's `average_precision_score` bit for bit, pixels of equal score counted at one threshold.
    Unsigned integers of 8 or 16 bits are counted in bins: 4 million pixels took 0.04 s, in scikit-learn 0.85 s.

    Args:
        score: any shape, higher means more likely; a real or unsigned integer type.
        truth: bool, same shape. known: bool, same shape.
    Returns: in (0, 1]; 1 where every pixel is positive; NaN where none is.
    """
    positives, total = ranked_counts(score, truth, known)
    precision, recall = precision_recall(positives, total)
    if not len(recall) or np.isnan(recall[-1]):
        return float("nan")
    return max(0.0, float(-np.sum(np.diff(np.append(recall[::-1], 0.0)) * precision[::-1])))


def ranked_counts(score: Array, truth: Array, known: Array | None = None) -> tuple[Array, Array]:
    """Numbers of positive pixels and of all pixels at each of T distinct scores, highest first: two int64 arrays [T].

    score: any shape, a real or unsigned integer type. truth, known: bool, same shape.

    Raises: BadInput for a NaN at a known pixel.
    """
    score, truth = _known(score, np.asarray(truth, bool), known)
    if np.issubdtype(score.dtype, np.floating) and np.isnan(score).any():
        raise BadInput("expected a score at every known pixel, got NaN; leave those pixels out with `known`.")
    if score.dtype in (np.uint8, np.uint16):
        levels = int(np.iinfo(score.dtype).max) + 1
        total = np.bincount(score, minlength=levels)[::-1]
        positives = np.bincount(score[truth], minlength=levels)[::-1]
        seen = total > 0
        return positives[seen], total[seen]
    order = np.argsort(score, kind="stable")[::-1]
    ranked, hits = score[order], truth[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]])) if len(ranked) else np.empty(0, int)
    total = np.diff(np.append(starts, len(ranked)))
    positives = np.add.reduceat(hits.astype(np.int64), starts) if len(starts) else np.empty(0, np.int64)
    return positives, total


def precision_recall(positives: Array, total: Array) -> tuple[Array, Array]:
    """Precision and recall at each threshold, [T] each in [0, 1]; recall is NaN where no pixel is positive.

    positives, total: [T], from `ranked_counts`.
    """
    hits, chosen = np.cumsum(positives, dtype=np.float64), np.cumsum(total, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return hits / chosen, hits / (hits[-1] if len(hits) else np.nan)


def soft_balanced_accuracy(probability: Array, truth: Array, known: Array | None = None) -> float:
    """(mean p over the positives + mean 1 - p over the negatives) / 2, as in HaLo-NeRF; no threshold.

    probability: any shape, in [0, 1]. truth, known: bool, same shape.

    Returns: in [0, 1]; 0.5 for any constant map; NaN where positives or negatives are missing.
    """
    probability, truth = _known(np.asarray(probability, np.float64), np.asarray(truth, bool), known)
    if truth.all() or not truth.any():
        return float("nan")
    return float((probability[truth].mean() + (1.0 - probability[~truth]).mean()) / 2.0)


def iou(probability: Array, truth: Array, threshold: float = 0.5, known: Array | None = None) -> float:
    """Intersection over union of `probability >= threshold` and the truth, in [0, 1]; NaN where both are empty.

    probability: any shape, in [0, 1]. truth, known: bool, same shape.
    """
    intersection, union, _ = _overlap(probability, truth, threshold, known)
    return intersection / union if union else float("nan")


def dice(probability: Array, truth: Array, threshold: float = 0.5, known: Array | None = None) -> float:
    """Dice score 2 |A and B| / (|A| + |B|) of `probability >= threshold` and the truth; NaN where both are empty.

    probability: any shape, in [0, 1]. truth, known: bool, same shape. Returns: in [0, 1].
    """
    intersection, _, sizes = _overlap(probability, truth, threshold, known)
    return 2.0 * intersection / sizes if sizes else float("nan")


def psnr(image: Array, reference: Array, known: Array | None = None) -> float:
    """Peak signal-to-noise ratio in dB of images in [0, 1]: -10 log10 of the mean squared error.

    Args:
        image, reference: [H, W] or [H, W, C].
        known: [H, W].
    Returns: infinity for equal images; NaN where no pixel is known.
    """
    image, reference = _checked_images(image, reference)
    squared = (image - reference) ** 2
    values = squared if known is None else squared[_checked_mask(known, squared.shape[:2])]
    if not values.size:
        return float("nan")
    error = float(values.mean())
    return float("inf") if error == 0.0 else -10.0 * float(np.log10(error))


def ssim(image: Array, reference: Array, known: Array | None = None, window: int = 7) -> float:
    """Structural similarity (Wang et al. 2004) of images in [0, 1], box window, K1 = 0.01, K2 = 0.03.

    Equal to scikit-image's `structural_similarity` with its defaults (sample covariance, windows wholly inside the
    image). With `known`, only windows without an unknown pixel count.

    Args:
        image, reference: [H, W] or [H, W, C]; sides of at least `window`.
        known: [H, W].
        window: px, odd.
    Returns: in [-1, 1]; NaN where no window is known.
    """
    image, reference = _checked_images(image, reference)
    if min(image.shape[:2]) < window or window % 2 == 0:
        raise BadInput(f"expected an odd window of at most {min(image.shape[:2])} px, the short side; got {window}.")
    size = (window, window) + (1,) * (image.ndim - 2)
    count = window * window

    def mean(values: Array) -> Array:
        return uniform_filter(values, size=size)

    mean0, mean1 = mean(image), mean(reference)
    unbiased = count / (count - 1)
    variance0 = unbiased * (mean(image * image) - mean0 * mean0)
    variance1 = unbiased * (mean(reference * reference) - mean1 * mean1)
    covariance = unbiased * (mean(image * reference) - mean0 * mean1)
    c1, c2 = 0.01**2, 0.03**2
    similarity = ((2 * mean0 * mean1 + c1) * (2 * covariance + c2)) / (
        (mean0**2 + mean1**2 + c1) * (variance0 + variance1 + c2)
    )
    border = window // 2
    inside = (slice(border, image.shape[0] - border), slice(border, image.shape[1] - border))
    values = similarity[inside]
    if known is not None:
        whole = uniform_filter(_checked_mask(known, image.shape[:2]).astype(np.float64), size=window)[inside]
        values = values[whole > 1.0 - 0.5 / count]
    return float(values.mean()) if values.size else float("nan")


def mean_defined(values: Iterable[float]) -> float:
    """Mean of the values that are not NaN; NaN where there is none."""
    kept = [value for value in values if not np.isnan(value)]
    return float(np.mean(kept)) if kept else float("nan")


def _overlap(probability: Array, truth: Array, threshold: float, known: Array | None) -> tuple[int, int, int]:
    """Sizes of intersection, union, and both masks together."""
    probability, truth = _known(probability, np.asarray(truth, bool), known)
    chosen = probability >= threshold
    intersection = int(np.count_nonzero(chosen & truth))
    sizes = int(np.count_nonzero(chosen)) + int(np.count_nonzero(truth))
    return intersection, sizes - intersection, sizes


def _known(values: Array, truth: Array, known: Array | None) -> tuple[Array, Array]:
    """Both arrays flattened, without unknown pixels."""
    values = np.asarray(values)
    if values.shape != truth.shape:
        raise BadInput(f"expected a truth of the scores' shape {values.shape}, got {truth.shape}.")
    if known is None:
        return values.ravel(), truth.ravel()
    known = _checked_mask(known, values.shape)
    return values[known], truth[known]


def _checked_images(image: Array, reference: Array) -> tuple[Array, Array]:
    image, reference = np.asarray(image, np.float64), np.asarray(reference, np.float64)
    if image.shape != reference.shape or image.ndim not in (2, 3):
        raise BadInput(f"expected two images [H, W] or [H, W, C] of one size, got {image.shape} and {reference.shape}.")
    return image, reference


def _checked_mask(known: Array, shape: tuple[int, ...]) -> Array:
    known = np.asarray(known, bool)
    if known.shape != shape:
        raise BadInput(f"expected `known` of shape {shape}, got {known.shape}.")
    return known


def label_retrieval(similarity: Array, shows: Array, depth: int = 3) -> dict[str, float]:
    """Retrieval metrics of photos against labels, by name, each in [0, 1]; NaN where nothing can be scored.

    Args:
        similarity: [N, L], photo by label, higher means more likely.
        shows: bool [N, L]; a photo may have several labels. Photos and labels without any are left out.
        depth: the k of recall at k.
    Returns: `accuracy`: share of photos whose most likely label is one of theirs; `accuracy_per_label`: the same as a
    mean over labels, so that frequent and rare labels count alike; `recall_at_<depth>`: share of photos with one of
    their labels among the `depth` most likely; `map`: mean over labels of the average precision of all photos ranked
    by similarity; `chance`: the accuracy of a random guess.

    Raises: BadInput where the shapes differ.
    """
    similarity, shows = np.asarray(similarity, np.float64), np.asarray(shows, bool)
    if similarity.ndim != 2 or similarity.shape != shows.shape:
        raise BadInput(
            f"expected similarities and labels of one shape [N, L], got {similarity.shape} and {shows.shape}."
        )
    kept = np.ix_(shows.any(axis=1), shows.any(axis=0))
    similarity, shows = similarity[kept], shows[kept]
    ranked = np.take_along_axis(shows, np.argsort(-similarity, axis=1, kind="stable"), axis=1)
    first, near = (np.asarray(ranked[:, :k].any(axis=1)) for k in (1, depth))
    labels = range(shows.shape[1])
    return {
        "accuracy": mean_defined(first.tolist()),
        "accuracy_per_label": mean_defined(float(first[shows[:, label]].mean()) for label in labels),
        f"recall_at_{depth}": mean_defined(near.tolist()),
        "map": mean_defined(average_precision(similarity[:, label], shows[:, label]) for label in labels),
        "chance": mean_defined(shows.mean(axis=1).tolist() if shows.size else ()),
    }
