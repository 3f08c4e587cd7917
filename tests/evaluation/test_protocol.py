"""Evaluation protocols: sizes, levels, pixels that count, photos that are scored."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from halonerf.data.scene.scene import Scene
from halonerf.errors import BadInput
from halonerf.evaluation.protocol import check_held_out, native_map, resized_map, scored_pixels, scored_views
from halonerf.evaluation.scores import histogram, score_map
from halonerf.stages.evaluate import Evaluate
from helpers.made_folders import run_stage, write_folders, write_masks

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("native", [(96, 128), (97, 131), (131, 60), (3, 1)])
def test_the_papers_map_is_resized_to_half_size_then_native_size_in_8_bits(native: tuple[int, int]):
    values = RANDOM.random((24, 30)).astype(np.float32)
    found = native_map("paper", values, native)
    assert found.dtype == np.uint8
    assert found.shape == native
    half = resized_map(values, (max(1, native[0] // 2), max(1, native[1] // 2)))
    above = found / 255 - resized_map(half, native)  # up to a level more, as 1 - p is cut off
    assert above.min() >= -1e-6
    assert above.max() < 1 / 255 + 1e-6
    plain = native_map("strict", values, native)
    assert plain.dtype == np.float32
    np.testing.assert_array_equal(plain, resized_map(values, native))


def test_a_map_of_half_the_native_size_is_only_enlarged():
    values = RANDOM.random((40, 56)).astype(np.float32)
    stored = (
        torch.nn.functional.interpolate(torch.from_numpy(1 - values)[None, None], size=(80, 112), mode="bilinear")
        .squeeze()
        .numpy()
        * 255
    ).astype(np.uint8)  # as the paper's code writes its pictures
    np.testing.assert_array_equal(native_map("paper", values, (80, 112)) / 255, (255 - stored) / 255)


def test_certain_and_impossible_are_kept_by_the_papers_levels():
    values = np.array([[0.0, 1.0]], np.float32)
    assert native_map("paper", np.repeat(values, 2, axis=0), (4, 4))[:, [0, -1]].tolist() == [[0, 255]] * 4
    faint = np.full((2, 2), 1e-3, np.float32)
    assert (native_map("paper", faint, (4, 4)) == 1).all()  # 0.255 of a level


def test_the_papers_metrics_use_256_levels():
    """Ties of 8 bits lower or raise AP; it is scikit-learn's of those levels, to the last bit."""
    values = RANDOM.random((60, 80)).astype(np.float32) ** 4
    truth = RANDOM.random((60, 80)) < 0.2 + 0.5 * values
    levels = native_map("paper", values, (60, 80))
    known = np.ones((60, 80), bool)
    scores = score_map(levels, truth, known)
    assert scores["ap"] == average_precision_score(truth.ravel(), levels.ravel())
    assert scores["ap"] != score_map(values, truth, known)["ap"]
    p = levels / 255
    assert scores["soft_balanced_accuracy"] == pytest.approx((p[truth].mean() + (1 - p[~truth]).mean()) / 2)
    chosen = levels >= 128  # above one half
    assert scores["iou"] == pytest.approx((chosen & truth).sum() / (chosen | truth).sum())
    assert histogram(levels, truth, known)["all"] == np.bincount(levels.ravel(), minlength=256).tolist()


def test_the_paper_scores_all_pixels():
    covered = np.array([[True, False]])
    assert scored_pixels("paper", covered).tolist() == [[True, True]]
    assert scored_pixels("strict", covered).tolist() == scored_pixels("heldout", covered).tolist() == [[True, False]]


def test_the_protocol_selects_the_scored_photos():
    assert [scored_views(p, "all") for p in ("strict", "heldout", "paper")] == ["all", "test", "all"]
    assert [scored_views("strict", v) for v in ("train", "test")] == ["train", "test"]
    assert scored_views("heldout", "test") == "test"
    with pytest.raises(BadInput, match=r"evaluate\.protocol=strict evaluate\.views=train"):
        Evaluate(protocol="heldout", views="train")
    with pytest.raises(BadInput, match=r"evaluate\.protocol=strict evaluate\.views=test"):
        Evaluate(protocol="paper", views="test")
    with pytest.raises(BadInput, match="strict or heldout or paper, got 'fair'"):
        Evaluate(protocol="fair")


def test_held_out_photos_must_not_be_lifted(tmp_path: Path):
    folders = write_folders(tmp_path)
    names = Scene(folders["ingest"]).names
    write_masks(tmp_path / "masks", "window", names)
    manifest = folders["localize"] / "manifest.json"
    manifest.write_text(json.dumps({"config": {"views": "all"}}))
    with pytest.raises(BadInput, match=r"localize\.views=all lifted(.|\n)*localize\.views=train"):
        run_stage(Evaluate(str(tmp_path / "masks"), protocol="heldout"), tmp_path / "out", folders)
    manifest.write_text(json.dumps({"config": {"views": "train"}}))
    run_stage(Evaluate(str(tmp_path / "masks"), protocol="heldout"), tmp_path / "out", folders)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (metrics["protocol"], metrics["views"], metrics["photos_scored"]) == ("heldout", "test", 1)
    with pytest.raises(BadInput, match=r"all 2 photos are training ones(.|\n)*ingest\.test_every=8"):
        check_held_out(folders["localize"], ["train", "train"])
