"""The evaluate stage on synthetic maps with known metrics, and its report page."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from halonerf.data.collection import write_collection
from halonerf.data.formats.names import UNUSED_METADATA
from halonerf.data.scene.scene import Scene
from halonerf.errors import BadInput
from halonerf.evaluation.protocol import resized_map
from halonerf.evaluation.scores import histogram, pooled_curve, score_map, summarise
from halonerf.stages.evaluate import Evaluate
from halonerf.stages.report import Report
from halonerf.types import ImageRecord
from halonerf.visualization.html_pages import Page, duration, figure, labelled_strip, mosaic
from helpers.made_folders import HEIGHT, WIDTH, run_stage, write_folders, write_masks


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    return write_folders(tmp_path)


@pytest.fixture
def names(folders: dict[str, Path]) -> list[str]:
    return Scene(folders["ingest"]).names


def metrics_of(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def test_an_exact_map_scores_one(tmp_path: Path, folders, names):
    write_masks(tmp_path / "masks", "Windows", names[:3])
    run_stage(Evaluate(str(tmp_path / "masks")), tmp_path / "out", folders)
    metrics = metrics_of(tmp_path / "out")
    entry = metrics["concepts"]["Windows"]
    # Resizing 64 to 128 px blurs the border: measured 0.9995 (AP), 0.98 (IoU).
    assert entry["ap"]["3d"] == pytest.approx(1.0, abs=2e-3)
    assert entry["iou"]["3d"] == pytest.approx(1.0, abs=0.04)
    assert entry["ap"]["2d"] < entry["ap"]["3d"]
    assert (entry["images"], entry["images_2d"], entry["missing"]) == (3, 2, False)
    assert metrics["map"] == {"segmenter_2d": entry["ap"]["2d"], "halonerf_3d": entry["ap"]["3d"]}
    assert (metrics["psnr_heldout"], metrics["ssim_heldout"]) == (21.5, None)
    assert metrics["photos_scored"] == 3
    assert metrics["photos_left_out"] == []
    assert len(list((tmp_path / "out" / "overlays").iterdir())) == 3
    with np.load(tmp_path / "out" / "pr_curves.npz", allow_pickle=False) as curves:
        assert list(curves["concepts"]) == ["Windows"]
        assert curves["recall_3d"][0, -1] == 1.0


def test_a_concept_without_a_map_scores_zero_and_counts(tmp_path: Path, folders, names):
    write_masks(tmp_path / "masks", "window", names[:2])
    write_masks(tmp_path / "masks", "gargoyle", names[:2])
    run_stage(Evaluate(str(tmp_path / "masks")), tmp_path / "out", folders)
    metrics = metrics_of(tmp_path / "out")
    assert metrics["missing_concepts"] == ["gargoyle"]
    assert metrics["concepts"]["gargoyle"]["ap"] == {"2d": 0.0, "3d": 0.0}
    assert metrics["map"]["halonerf_3d"] == pytest.approx(metrics["concepts"]["window"]["ap"]["3d"] / 2)


def test_photos_without_a_mask_are_unknown_not_negative(tmp_path: Path, folders, names):
    write_masks(tmp_path / "masks", "window", names[:2])
    write_masks(tmp_path / "masks", "dome", names[:4])
    run_stage(Evaluate(str(tmp_path / "masks")), tmp_path / "out", folders)
    with open(tmp_path / "out" / "per_image.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["photo"] for row in rows if row["concept"] == "window"} == set(names[:2])
    assert len([row for row in rows if row["method"] == "3d"]) == 6
    assert len([row for row in rows if row["method"] == "2d"]) == 4  # photo 0 was not segmented


def test_only_the_chosen_split_is_scored(tmp_path: Path, folders, names):
    write_masks(tmp_path / "masks", "window", names)
    (tmp_path / "masks" / "window" / "elsewhere.png").write_bytes(
        (tmp_path / "masks" / "window" / names[0]).with_suffix(".png").read_bytes()
    )
    run_stage(Evaluate(str(tmp_path / "masks"), views="test"), tmp_path / "out", folders)
    metrics = metrics_of(tmp_path / "out")
    assert metrics["photos_scored"] == 1
    assert metrics["map"]["segmenter_2d"] is None
    reasons = {entry["mask"]: entry["reason"] for entry in metrics["photos_left_out"]}
    assert reasons["window/elsewhere.png"] == "no registered photo of that name"
    assert reasons[f"window/{names[1]}"] == "not in the 'test' split"


def test_an_empty_mask_has_no_average_precision_but_false_alarms_count(tmp_path: Path, folders, names):
    write_masks(tmp_path / "masks", "window", names[:1])
    path = (tmp_path / "masks" / "window" / names[1]).with_suffix(".png")
    Image.new("L", (WIDTH, HEIGHT)).save(path)
    run_stage(Evaluate(str(tmp_path / "masks")), tmp_path / "out", folders)
    entry = metrics_of(tmp_path / "out")["concepts"]["window"]
    assert entry["ap"]["3d"] == pytest.approx(1.0, abs=2e-3)
    assert entry["iou"]["3d"] == pytest.approx(0.5, abs=0.03)


def test_masks_may_have_any_resolution_of_the_photos_aspect(tmp_path: Path, folders, names):
    write_masks(tmp_path / "masks", "window", names[:1], size=(WIDTH * 2, HEIGHT * 2))
    run_stage(Evaluate(str(tmp_path / "masks")), tmp_path / "out", folders)
    assert metrics_of(tmp_path / "out")["map"]["halonerf_3d"] == pytest.approx(1.0, abs=2e-3)
    write_masks(tmp_path / "turned", "window", names[:1], size=(HEIGHT, WIDTH))
    with pytest.raises(BadInput, match=r"128 x 96 px .*got 96 x 128 px"):
        run_stage(Evaluate(str(tmp_path / "turned")), tmp_path / "out2", folders)


def test_without_masks_nothing_is_scored_and_the_report_shows_maps(tmp_path: Path, folders, caplog):
    run_stage(Evaluate(), tmp_path / "out", folders)
    assert "evaluate.masks=DIR" in caplog.text
    metrics = metrics_of(tmp_path / "out")
    assert (metrics["concepts"], metrics["map"]) == ({}, {"segmenter_2d": None, "halonerf_3d": None})
    assert "evaluate.masks=DIR" in (tmp_path / "out" / "report.html").read_text()
    (folders["collect"] / UNUSED_METADATA).write_text(
        "line,name,reason,nearest\n7,do<me.jpg,no photo of that name,dome.jpg\n"
    )
    run_stage(Report(max_photos=2), tmp_path / "report", {**folders, "evaluate": tmp_path / "out"})
    page = (tmp_path / "report" / "report.html").read_text()
    assert page.count('alt="dome in') == 2
    assert "<td>do&lt;me.jpg</td><td>no photo of that name</td><td>dome.jpg</td>" in page
    assert json.loads((tmp_path / "report" / "summary.json").read_text())["per_concept"] == {}


def test_masks_of_the_collection_are_the_default(tmp_path: Path, folders, names):
    write_masks(tmp_path / "own", "window", names)
    records = [ImageRecord(name) for name in names]
    write_collection(folders["collect"], "made", tmp_path, records, masks=tmp_path / "own")
    run_stage(Evaluate(), tmp_path / "out", folders)
    assert metrics_of(tmp_path / "out")["photos_scored"] == 4


def test_masks_of_other_photos_are_refused(tmp_path: Path, folders):
    write_masks(tmp_path / "masks", "window", ["other.jpg"])
    with pytest.raises(BadInput, match=r"window/other\.png"):
        run_stage(Evaluate(str(tmp_path / "masks")), tmp_path / "out", folders)
    with pytest.raises(BadInput, match=r"evaluate\.views"):
        Evaluate(views="left")


def test_a_killed_run_resumes(tmp_path: Path, folders, names):
    write_masks(tmp_path / "masks", "window", names)
    run_stage(Evaluate(str(tmp_path / "masks")), tmp_path / "whole", folders)
    run_stage(Evaluate(str(tmp_path / "masks")), tmp_path / "out", folders, most=2)
    kept = (tmp_path / "out" / "scores" / "00000.json").stat().st_mtime_ns
    run_stage(Evaluate(str(tmp_path / "masks")), tmp_path / "out", folders)
    assert (tmp_path / "out" / "scores" / "00000.json").stat().st_mtime_ns == kept
    for file in ("metrics.json", "per_image.csv"):
        assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_unknown_pixels_in_2d_have_probability_zero(tmp_path: Path, folders, names):
    write_masks(tmp_path / "masks", "window", names[:2])
    target = folders["segment"] / "maps" / "00001.npz"
    with np.load(target) as stored:
        np.savez(target, probability=stored["probability"], known=np.zeros_like(stored["probability"], bool))
    run_stage(Evaluate(str(tmp_path / "masks")), tmp_path / "out", folders)
    share = json.loads((tmp_path / "out" / "scores" / "00001.json").read_text())["concepts"]["window"]
    assert share["2d"]["ap"] == pytest.approx(share["positive_share"])  # a constant map


def test_the_report_is_complete_and_escaped(tmp_path: Path, folders, names):
    write_masks(tmp_path / "masks", "<i>window", names)
    folders["evaluate"] = tmp_path / "evaluate"
    run_stage(Evaluate(str(tmp_path / "masks")), folders["evaluate"], folders)
    (folders["evaluate"] / "manifest.json").write_text('{"stage": "evaluate", "wall_s": 2.0, "summary": {}}')
    stage = run_stage(Report(max_photos=2), tmp_path / "out", folders)
    for page in (tmp_path / "out" / "report.html", folders["evaluate"] / "report.html"):
        html = page.read_text(encoding="utf-8")
        assert "<i>window" not in html
        assert "&lt;i&gt;window" in html
        assert "<b>A window" not in html
        assert 'src="http' not in html
        assert html.count("<img") == html.count('src="data:image/')
    assert (tmp_path / "out" / "report.html").read_text(encoding="utf-8").count("<figure>") >= 2 + 1
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["scene"] == "made"
    assert summary["wall_s"] == {**dict.fromkeys(folders, 1.5), "evaluate": 2.0}
    assert (summary["psnr_heldout"], summary["distill_accuracy"]) == (21.5, 0.75)
    assert summary["map"].keys() == {"segmenter_2d", "halonerf_3d"}
    assert list(summary["per_concept"]) == ["<i>window"]
    assert stage.summary()["distill_accuracy"] == 0.75


def test_scores_of_one_map():
    truth = np.array([[True, False], [False, False]])
    scores = score_map(np.array([[0.9, 0.2], [0.6, 0.0]]), truth, np.array([[True, True], [False, True]]))
    assert scores["ap"] == 1.0
    assert scores["iou"] == 1.0
    assert scores["soft_balanced_accuracy"] == pytest.approx((0.9 + 0.9) / 2)
    nothing = score_map(np.zeros((2, 2)), np.zeros((2, 2), bool), np.ones((2, 2), bool))
    assert set(nothing.values()) == {None}


def test_the_pooled_curve_is_that_of_all_pixels():
    random = np.random.default_rng(1)
    maps = [np.round(random.random((9, 9)) * 255) / 255 for _ in range(2)]
    truths = [random.random((9, 9)) < 0.3 for _ in range(2)]
    known = np.ones((9, 9), bool)
    precision, recall = pooled_curve(histogram(m, t, known) for m, t in zip(maps, truths, strict=True))
    for threshold in (64, 128, 250):
        chosen, truth = np.stack(maps) >= threshold / 255 - 1e-9, np.stack(truths)
        index = 255 - threshold
        assert precision[index] == pytest.approx((chosen & truth).sum() / chosen.sum())
        assert recall[index] == pytest.approx((chosen & truth).sum() / truth.sum())


def test_means_over_photos_then_concepts():
    def row(value: float | None) -> dict:
        return None if value is None else dict.fromkeys(("ap", "soft_balanced_accuracy", "iou", "dice"), value)

    photos = [
        {"concepts": {"a": {"2d": row(0.2), "3d": row(0.4)}, "b": {"2d": None, "3d": row(1.0)}}},
        {"concepts": {"a": {"2d": None, "3d": row(0.8)}}},
    ]
    summary = summarise(photos, ["a", "b"], [])
    assert summary["concepts"]["a"]["ap"] == {"2d": 0.2, "3d": pytest.approx(0.6)}
    assert summary["map"] == {"segmenter_2d": 0.2, "halonerf_3d": pytest.approx(0.8)}
    assert summary["map_same_photos"] == {"segmenter_2d": 0.2, "halonerf_3d": 0.4}


def test_resizing_keeps_the_mean():
    drawn = np.random.default_rng(0).random((10, 12)).astype(np.float32)
    assert resized_map(drawn, (5, 6)).mean() == pytest.approx(drawn.mean(), abs=0.02)
    assert resized_map(drawn, (10, 12)) is drawn
    np.testing.assert_allclose(resized_map(np.full((4, 4), 0.3, np.float32), (9, 7)), 0.3, atol=1e-6)


def test_numbers_are_formatted():
    assert [duration(s) for s in (None, 0.42, 59.6, 125)] == ["–", "0.4 s", "1 min 00 s", "2 min 05 s"]
    assert [figure(None), figure(0.12345), figure(21.456, 1)] == ["–", "0.123", "21.5"]


def test_pages_embed_pictures(tmp_path: Path):
    Image.new("RGB", (400, 100)).save(tmp_path / "a.png")
    page = Page("x")
    assert page.picture(tmp_path / "none.png", 100) is None
    assert page.picture(tmp_path / "a.png", 100).startswith("data:image/jpeg;base64,")
    for width, height in ((20, 10), (10, 20)):  # fitted into 280 x 320 px under a title of 22 px
        strip = labelled_strip([("a", np.full((height, width, 3), 255, np.uint8)), ("b", None)], (width, height))
        assert strip.shape == (22 + (140 if width > height else 320), 2 * 280 + 4, 3)
        assert (strip[22:, :280] == 255).all(axis=(0, 2)).sum() == (280 if width > height else 160)


def test_a_mosaic_has_full_rows():
    tiles = [np.full((30, 50, 3), value, np.uint8) for value in range(7)]
    assert mosaic(tiles, columns=4).shape == (280, 4 * 360, 3)
    assert mosaic(tiles[:2], columns=4).shape == (280, 2 * 360, 3)
