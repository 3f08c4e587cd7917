"""Terms that ask the field: occlusion, and agreement with the other photos; and that a killed run ends the same."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from halonerf.errors import BadInput
from halonerf.lifting import lift_weighted
from halonerf.stages.segment.agreement import LeaveOneOutSums, WorkItem, downsized, photos_added
from halonerf.stages.segment.stage import Segment
from halonerf.types import View
from helpers.made_board import COLOURS, Board, write_board_folders
from helpers.made_folders import write_masks

MASKS = {"_target_": "halonerf.segmenters.Masks"}


@pytest.fixture
def inputs(tmp_path: Path) -> tuple[dict[str, Path], list[str]]:
    """Finished folders of `helpers.made_board`, and the photos' names."""
    return write_board_folders(tmp_path)


def run(stage: Segment, folder: Path, inputs: dict[str, Path], most: int | None = None) -> Segment:
    """As the trainer would, at most `most` items; finished only if all are done."""
    folder.mkdir(exist_ok=True)
    needs = Segment.requires({"score_terms": stage.score_terms})
    stage.bind(folder, {need: inputs[need] for need in needs}, 0)
    stage.prepare()
    for index, item in enumerate([item for item in stage.items() if not stage.done(item)][:most]):
        stage.predict_step(item, index)
    if most is None:
        stage.finish()
    return stage


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_the_papers_choice(tmp_path: Path, inputs):
    folders, names = inputs
    options: dict[str, Any] = {"concepts": ["window"], "building": "cathedral", "max_photos": 19}
    stage = Segment(COLOURS, score_terms=["geometry", "occlusion"], combine="sum", **options)
    rows = table(run(stage, tmp_path / "out", folders).folder / "choice.csv")
    assert list(rows[0]) == ["photo", "score", "chosen", "reason", "geometry", "occlusion"]
    assert [row["photo"] for row in rows] == names
    # the house: 8 of 48 rows above and below, 16 of 64 columns at the sides, 0.33 of the photo; hidden: half of it
    assert [float(row["geometry"]) for row in rows] == pytest.approx([1 + 8 / 48] * 20, abs=1e-4)
    assert [float(row["occlusion"]) for row in rows] == [1.0] * 3 + [0.5] + [1.0] * 16
    assert float(rows[3]["score"]) == pytest.approx(1.5 + 8 / 48, abs=1e-4)
    assert [row["chosen"] for row in rows] == ["true"] * 3 + ["false"] + ["true"] * 16
    assert rows[3]["reason"] == "lower than the 19 selected"
    weights = table(tmp_path / "out" / "weights.csv")
    assert [row["weight"] for row in weights] == [row["score"] for row in rows], "no term tells concepts apart"
    assert Segment.requires({"score_terms": ["geometry", "occlusion"]}) == (*Segment.needs, "reconstruct")
    assert Segment.requires({"score_terms": ["geometry"], "adapted": True}) == (*Segment.needs, "adapt_segmenter")


def test_a_photo_with_a_wrong_map_has_low_agreement(tmp_path: Path, inputs):
    folders, names = inputs
    options: dict[str, Any] = {"concepts": ["window", "dome"], "score_terms": ["certainty", "agreement"]}
    stage = run(Segment(COLOURS, agreement_size=16, **options), tmp_path / "out", folders)
    rows = table(tmp_path / "out" / "choice.csv")
    weights = {(row["photo"], row["concept"]): float(row["weight"]) for row in table(tmp_path / "out" / "weights.csv")}
    assert len(weights) == 40
    # the others say 18 of 19 for the window and 1 of 19 elsewhere, 4 elements of 192 each; the wrong one 0 and 19
    values = json.loads((tmp_path / "out" / "agreement" / "00005.json").read_text())
    assert values[0] == pytest.approx(0.02 / (8 / 192 + 0.02), rel=1e-2)  # eight bits and a logit's end
    right = json.loads((tmp_path / "out" / "agreement" / "00000.json").read_text())
    share = 4 / 192
    assert right[0] == pytest.approx((share * 18 / 19 + 0.02) / (share * 20 / 19 + 0.02), rel=1e-2)
    assert values[1] == right[1] == pytest.approx(1, abs=1e-3)  # no photo shows a dome
    assert weights[names[0], "window"] == pytest.approx(1, abs=0.01)
    assert weights[names[5], "window"] < 0.4
    assert weights[names[5], "dome"] == pytest.approx(1, abs=0.01)
    assert float(rows[5]["agreement"]) == pytest.approx((weights[names[5], "window"] + 1) / 2, abs=0.01)
    assert min(rows, key=lambda row: float(row["score"]))["photo"] == names[5]
    assert not (tmp_path / "out" / "agreement" / "sums.safetensors").exists()
    assert stage.summary()["photos_chosen"] == 20


@pytest.mark.parametrize("killed", [7, 21, 23])
def test_a_killed_run_ends_the_same(tmp_path: Path, inputs, killed: int):
    """Killed among the photos, between the two sums, and between the two comparisons."""
    options: dict[str, Any] = {"concepts": ["window"], "score_terms": ["quality", "agreement"], "selection": "coverage"}
    run(Segment(COLOURS, agreement_size=20, **options), tmp_path / "whole", inputs[0])
    run(Segment(COLOURS, agreement_size=20, **options), tmp_path / "killed", inputs[0], most=killed)
    stage = Segment(COLOURS, agreement_size=20, **options)
    run(stage, tmp_path / "killed", inputs[0], most=0)
    left = [item for item in stage.items() if not stage.done(item)]
    assert len(left) == 24 - killed
    run(Segment(COLOURS, agreement_size=20, **options), tmp_path / "killed", inputs[0])
    files = sorted(p.relative_to(tmp_path / "whole") for p in (tmp_path / "whole").rglob("*.*"))
    assert files == sorted(p.relative_to(tmp_path / "killed") for p in (tmp_path / "killed").rglob("*.*"))
    for path in files:
        if path.suffix != ".npz":  # a zip carries the time of day
            assert (tmp_path / "whole" / path).read_bytes() == (tmp_path / "killed" / path).read_bytes()
    again = Segment(COLOURS, agreement_size=20, **options)
    run(again, tmp_path / "killed", inputs[0], most=0)
    assert all(again.done(item) for item in again.items())  # killed after all was done: nothing is done twice
    assert again.items()[-4:] == [
        WorkItem(kind, tuple(group)) for kind in ("sums", "agree") for group in (range(16), range(16, 20))
    ]


def test_drawn_masks_agree_or_not_where_they_were_drawn(tmp_path: Path, inputs):
    folders, names = inputs
    write_masks(tmp_path / "masks", "windows", names[:2])
    masks = {**MASKS, "path": str(tmp_path / "masks")}
    run(Segment(masks, score_terms=["certainty", "agreement"], agreement_size=16), tmp_path / "out", folders)
    rows = table(tmp_path / "out" / "choice.csv")
    assert [row["chosen"] for row in rows] == ["true"] * 2 + ["false"] * 18
    assert rows[5]["reason"] == "no concept known in it"
    assert json.loads((tmp_path / "out" / "agreement" / "00005.json").read_text()) == [None]
    assert {row["weight"] for row in table(tmp_path / "out" / "weights.csv")[2:]} == {"0.0000"}
    building: dict[str, Any] = {"building": "cathedral", "score_terms": ["geometry"]}
    with pytest.raises(BadInput, match=r"building_segmenter that works on pixels(.|\n)*building=null"):
        run(Segment(masks, crop=False, **building), tmp_path / "no", folders)
    with pytest.raises(BadInput, match=r"Use: segment\.crop=false"):
        run(Segment(masks, building_segmenter=COLOURS, **building), tmp_path / "no", folders)
    run(Segment(masks, building_segmenter=COLOURS, crop=False, **building), tmp_path / "found", folders)
    assert float(table(tmp_path / "found" / "choice.csv")[0]["geometry"]) == pytest.approx(1 + 8 / 48, abs=1e-4)


def test_leave_one_out_sums_equal_explicit_ones(tmp_path: Path):
    torch.manual_seed(0)
    view = View(16, 12, 10.0, 10.0, 8.0, 6.0, torch.eye(4)[:3])
    board = Board()
    photos = [(torch.rand(12, 16, 2), (torch.rand(12, 16, 2) > 0.5).float()) for _ in range(3)]
    consensus = LeaveOneOutSums(board.elements, 2)
    for maps, known in photos:
        consensus.add(board, view, maps, known)
    consensus.skip()
    consensus.save(tmp_path / "sums.safetensors")
    again = LeaveOneOutSums(board.elements, 2)
    assert photos_added(tmp_path / "none") == 0
    again.load(tmp_path / "sums.safetensors")
    assert again.photos == photos_added(tmp_path / "sums.safetensors") == 4
    others, far = again.others(board, view, *photos[1])
    support = photos[0][1] + photos[2][1]
    expected = (photos[0][0] * photos[0][1] + photos[2][0] * photos[2][1]) / support.clamp(min=1)
    torch.testing.assert_close(others, expected, atol=1e-5, rtol=0)  # a subtraction in single precision
    torch.testing.assert_close(far, (support > 0).float())
    said, weight = lift_weighted(board, view, *photos[1])
    torch.testing.assert_close(weight.sum(), photos[1][1].sum())
    torch.testing.assert_close(said.sum(), (photos[1][0] * photos[1][1]).sum())


def test_downsized_maps_are_means_of_known_pixels():
    view = View(64, 32, 10.0, 10.0, 32.0, 16.0, torch.eye(4)[:3])
    probability, known = torch.ones(1, 32, 64), torch.ones(1, 32, 64)
    probability[:, :, 1::2], known[:, :, 1::2] = 0.25, 0
    probability[:, :, :32:2] = 0.5
    small, maps, share = downsized(view, probability, known, 16)
    assert (small.width, small.height, small.fx) == (16, 8, 2.5)
    assert maps.shape == (8, 16, 1)
    assert (share == 0.5).all()
    assert torch.equal(maps[0, :, 0], torch.tensor([0.5] * 8 + [1.0] * 8))
    same, _, _ = downsized(view, probability, known, 100)
    assert (same.width, same.height) == (64, 32)  # never enlarged
