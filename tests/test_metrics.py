"""Metrics against independent implementations, known values and limits."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import average_precision_score

from halonerf import metrics
from halonerf.errors import BadInput

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("levels", [2, 7, 256, None], ids=["two", "seven", "bytes", "continuous"])
@pytest.mark.parametrize("share", [0.01, 0.5, 1.0])
def test_average_precision_is_sklearns(levels: int | None, share: float):
    truth = RANDOM.random((80, 61)) <= share
    score = RANDOM.random((80, 61)) * 0.5 + 0.3 * truth
    if levels is not None:
        score = np.floor(score * levels) / levels
    wanted = average_precision_score(truth.ravel(), score.ravel())
    assert metrics.average_precision(score, truth) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_average_precision_of_counted_integers_is_sklearns(kind: type):
    truth = RANDOM.random(5000) < 0.2
    score = (RANDOM.normal(100 + 40 * truth, 30)).clip(0, 255).astype(kind)
    wanted = average_precision_score(truth, score)
    assert metrics.average_precision(score, truth) == pytest.approx(wanted, abs=1e-12)


@settings(max_examples=150, deadline=None)
@given(
    arrays(np.uint8, 40, elements=st.integers(0, 6)),
    arrays(np.bool_, 40),
    arrays(np.bool_, 40),
)
def test_average_precision_of_known_pixels_with_ties(score: np.ndarray, truth: np.ndarray, known: np.ndarray):
    found = metrics.average_precision(score, truth, known)
    if not (truth & known).any():
        assert math.isnan(found)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = average_precision_score(truth[known], score[known])
    assert found == pytest.approx(wanted, abs=1e-12)
    assert metrics.average_precision(score.astype(float), truth, known) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_average_precision_of_bytes_is_sklearns_to_the_last_bit(seed: int):
    """Sums in the same order: no rounding apart, so that the paper's figures are the paper's."""
    random = np.random.default_rng(seed)
    score = (random.random((57, 43)) * random.choice([2, 16, 256])).astype(np.uint8)
    truth = random.random((57, 43)) < random.random() * score / 255 + 0.02
    assert metrics.average_precision(score, truth) == average_precision_score(truth.ravel(), score.ravel())
    assert metrics.average_precision(score / 255, truth) == average_precision_score(truth.ravel(), score.ravel() / 255)


def test_average_precision_by_hand():
    # Thresholds 0.9 (1 of 1), 0.5 (2 of 3 with the tie), 0.1 (3 of 4): 1/3 * 1 + 1/3 * 2/3 + 1/3 * 3/4.
    score, truth = np.array([0.9, 0.5, 0.5, 0.1]), np.array([True, True, False, True])
    assert metrics.average_precision(score, truth) == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_average_precision_limits():
    truth = np.zeros((4, 4), bool)
    assert math.isnan(metrics.average_precision(RANDOM.random((4, 4)), truth))
    truth[0] = True
    assert metrics.average_precision(truth.astype(float), truth) == 1.0
    assert metrics.average_precision(np.full((4, 4), 0.3), truth) == 0.25  # a constant map: the share of positives
    assert math.isnan(metrics.average_precision(truth.astype(float), truth, np.zeros((4, 4), bool)))
    with pytest.raises(BadInput, match="NaN"):
        metrics.average_precision(np.full((4, 4), np.nan), truth)
    with pytest.raises(BadInput, match=r"shape \(4, 4\), got \(2, 2\)"):
        metrics.average_precision(np.zeros((4, 4)), np.zeros((2, 2), bool))
    with pytest.raises(BadInput, match="`known` of shape"):
        metrics.average_precision(np.zeros((4, 4)), truth, np.ones(4, bool))


def test_soft_balanced_accuracy():
    truth = np.array([True, False, False, False])
    assert metrics.soft_balanced_accuracy(np.array([0.8, 0.1, 0.2, 0.3]), truth) == pytest.approx((0.8 + 0.8) / 2)
    assert metrics.soft_balanced_accuracy(np.full(4, 0.37), truth) == pytest.approx(0.5)
    assert math.isnan(metrics.soft_balanced_accuracy(np.full(4, 0.5), np.ones(4, bool)))
    assert math.isnan(metrics.soft_balanced_accuracy(np.full(4, 0.5), np.zeros(4, bool)))
    known = np.array([True, True, False, False])
    assert metrics.soft_balanced_accuracy(np.array([0.8, 0.1, 9, 9]), truth, known) == pytest.approx((0.8 + 0.9) / 2)


def test_soft_balanced_accuracy_weighs_both_sides_alike():
    """Half a per cent of the pixels is as much as the rest: (0.6 + (1 - 0.1)) / 2."""
    truth = np.zeros(1000, bool)
    truth[:5] = True
    assert metrics.soft_balanced_accuracy(np.where(truth, 0.6, 0.1), truth) == pytest.approx(0.75)
    assert metrics.soft_balanced_accuracy(truth.astype(float), truth) == 1.0
    assert metrics.soft_balanced_accuracy(1.0 - truth, truth) == 0.0


def test_iou_and_dice():
    probability = np.array([0.9, 0.6, 0.49, 0.1])
    truth = np.array([True, False, True, False])
    assert metrics.iou(probability, truth) == pytest.approx(1 / 3)
    assert metrics.dice(probability, truth) == pytest.approx(2 / 4)
    assert metrics.iou(probability, truth, threshold=0.4) == pytest.approx(2 / 3)
    assert metrics.iou(probability, truth, threshold=0.49) == pytest.approx(2 / 3), "the threshold itself counts"
    assert metrics.iou(probability, truth, known=np.array([True, False, False, True])) == 1.0
    nothing = np.zeros(4)
    assert math.isnan(metrics.iou(nothing, nothing.astype(bool)))
    assert math.isnan(metrics.dice(nothing, nothing.astype(bool)))
    assert metrics.iou(probability, nothing.astype(bool)) == 0.0


@given(arrays(np.bool_, 30), arrays(np.bool_, 30))
def test_dice_follows_from_iou(a: np.ndarray, b: np.ndarray):
    iou, dice = metrics.iou(a.astype(float), b), metrics.dice(a.astype(float), b)
    assert (math.isnan(iou) and math.isnan(dice)) or dice == pytest.approx(2 * iou / (1 + iou))


def test_psnr_is_scikit_images():
    skimage = pytest.importorskip("skimage.metrics")
    a, b = RANDOM.random((20, 30, 3)), RANDOM.random((20, 30, 3))
    assert metrics.psnr(a, b) == pytest.approx(skimage.peak_signal_noise_ratio(a, b, data_range=1.0))
    assert metrics.psnr(a, a) == math.inf
    assert metrics.psnr(np.zeros((4, 4)), np.full((4, 4), 0.1)) == pytest.approx(20.0)
    known = np.zeros((20, 30), bool)
    assert math.isnan(metrics.psnr(a, b, known))
    known[:, :10] = True
    assert metrics.psnr(a, b, known) == pytest.approx(metrics.psnr(a[:, :10], b[:, :10]))
    with pytest.raises(BadInput, match="one size"):
        metrics.psnr(a, b[:5])


@pytest.mark.parametrize("shape", [(24, 31), (24, 31, 3)])
def test_ssim_is_scikit_images(shape: tuple[int, ...]):
    skimage = pytest.importorskip("skimage.metrics")
    a = RANDOM.random(shape)
    b = np.clip(a + RANDOM.normal(0, 0.1, shape), 0, 1)
    options = {"data_range": 1.0, "channel_axis": -1 if len(shape) == 3 else None}
    for window in (7, 5):
        wanted = skimage.structural_similarity(a, b, win_size=window, **options)
        assert metrics.ssim(a, b, window=window) == pytest.approx(wanted, abs=1e-10)
    assert metrics.ssim(a, a) == pytest.approx(1.0)


def test_ssim_counts_windows_without_unknown_pixels():
    a, b = RANDOM.random((24, 40)), RANDOM.random((24, 40))
    known = np.zeros((24, 40), bool)
    known[:, :20] = True
    changed = np.where(known, b, 0.0)
    assert metrics.ssim(a, b, known) == pytest.approx(metrics.ssim(a, changed, known))
    assert metrics.ssim(a, b, known) == pytest.approx(metrics.ssim(a[:, :20], b[:, :20]))
    assert math.isnan(metrics.ssim(a, b, np.zeros((24, 40), bool)))
    with pytest.raises(BadInput, match="short side"):
        metrics.ssim(a[:5], b[:5])


def test_mean_leaves_out_what_is_not_defined():
    assert metrics.mean_defined([1.0, float("nan"), 3.0]) == 2.0
    assert math.isnan(metrics.mean_defined([]))
    assert math.isnan(metrics.mean_defined([float("nan")]))
