"""Precision-recall figures: one panel per title, a label in one colour, and pooled arrays on disk."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from halonerf.evaluation.curves import COLUMNS, Curve, draw_precision_recall, write_curves
from halonerf.evaluation.scores import BINS, histogram

LEVELS = np.linspace(0, 1, BINS)
RANDOM = np.random.default_rng(0)


def curve(power: float) -> Curve:
    return 1 - LEVELS**power, LEVELS


def drawn(panels: dict[str, dict[str, Curve]]) -> np.ndarray:
    """The pixels of a figure, uint8 [H, W, 4]."""
    with Image.open(io.BytesIO(draw_precision_recall(panels))) as picture:
        return np.asarray(picture.convert("RGBA"))


def test_panels_fill_rows_and_the_background_is_transparent():
    one = drawn({"window": {"2D": curve(1.0), "3D": curve(4.0)}})
    several = drawn({f"concept {i}": {"2D": curve(1.0), "3D": curve(4.0)} for i in range(COLUMNS + 1)})
    assert several.shape[0] == pytest.approx(2 * one.shape[0], abs=2)
    assert several.shape[1] == pytest.approx(COLUMNS * one.shape[1], abs=2)
    assert (one[..., 3] == 0).mean() > 0.5
    assert (one[..., 3] == 255).any()


def test_undefined_curves_are_left_out():
    undefined = np.full(BINS, np.nan)
    empty = drawn({"segmenter, 2D": {"window": (undefined, undefined)}})
    full = drawn({"segmenter, 2D": {"window": curve(1.0)}})
    assert empty.shape == full.shape
    assert (empty != full).any()


def test_curves_of_a_scene_are_pooled_over_photos(tmp_path: Path):
    truth = RANDOM.random((30, 40)) < 0.3
    known = np.ones_like(truth)
    counts = histogram(truth.astype(np.float32), truth, known)
    photos = [{"histograms": {"window": {"2d": counts, "3d": counts}}}, {"histograms": {"window": {"3d": counts}}}]
    write_curves(tmp_path, photos, {"window": (255, 0, 0), "dome": (0, 0, 255)})
    with np.load(tmp_path / "pr_curves.npz", allow_pickle=False) as arrays:
        assert arrays["concepts"].tolist() == ["window", "dome"]
        assert arrays["precision_3d"].shape == (2, BINS)
        assert arrays["precision_3d"][0, 0] == arrays["recall_3d"][0, 0] == 1.0
        assert np.isnan(arrays["recall_2d"][1]).all()
    assert (tmp_path / "pr_curves.png").is_file()
