"""Targets on disk, the published layout, and the stage that warps predictions from close-ups."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor

from halonerf.data.formats.target_maps import (
    Target,
    photo_tensor,
    read_published_targets,
    read_targets,
    write_target_map,
    write_target_photo,
    write_targets,
)
from halonerf.data.labels.table import table_path, write_labels
from halonerf.errors import BadInput
from halonerf.files import write_npz
from halonerf.stages import targets as stage_module
from halonerf.stages.adapt_segmenter.dataset import AdaptationBatches, TrainingPhoto, group_targets
from halonerf.stages.targets import Targets
from halonerf.types import PseudoLabel


def put_target(folder: Path, name: str, label: str, kind: str, left: bool, quality: float = 1.0) -> dict[str, object]:
    """A photo of 20 x 30 px, and a target that is known in its left or right half alone."""
    for part in ("photos", "maps"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    write_target_photo(folder / "photos" / f"{name}.jpg", np.full((20, 30, 3), 128, np.uint8))
    region = np.zeros((20, 30), bool)
    region[:, slice(0, 15) if left else slice(15, 30)] = True
    map_name = f"{name}_{label}_{left}.npz"
    write_target_map(folder / "maps" / map_name, np.full((20, 30), 0.8), region)
    return {"photo": f"{name}.jpg", "label": label, "map": map_name, "close_up": "c", "kind": kind, "quality": quality}


def test_targets_are_read_back(tmp_path: Path):
    write_targets(tmp_path, [put_target(tmp_path, "a", "portal", "positive", left=True, quality=0.25)])
    (target,) = read_targets(tmp_path)
    assert (target.label, target.kind, target.close_up, target.quality) == ("portal", "positive", "c", 0.25)
    probability, region = target.maps(20, 30)
    assert region[:, :15].all()
    assert not region[:, 15:].any()
    torch.testing.assert_close(probability[region], torch.full((300,), 0.8), atol=0.5 / 255, rtol=0)  # eight bits
    assert not probability[~region].any()
    smaller, inside = target.maps(10, 16)
    assert smaller.shape == (10, 16)
    assert not inside[:, 7:].any()  # a pixel that is half outside the region does not count


def write_original(root: Path, key: str, label: str, negative: bool) -> None:
    folder = root / "some_cathedral"
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((24, 36, 3), 90, np.uint8)).save(folder / f"{key}.jpg")
    for infix in ("", "_neg") if negative else ("",):
        np.save(folder / f"{key}{infix}_{label}.npy", np.full((24, 36), 0.1 if infix else 0.9, np.float32))
        np.save(folder / f"{key}{infix}_mask_{label}.npy", np.tri(24, 36, dtype=bool))


def test_the_published_layout(tmp_path: Path):
    write_original(tmp_path / "data", "ab12", "rose windows", negative=True)
    write_original(tmp_path / "data", "cd34", "portal", negative=False)
    table = tmp_path / "table.csv"
    table.write_text(
        "hash,label_raw,label,has_neg,spl\n"
        "ab12,rose windows,rose window,True,train\ncd34,portal,portal,False,train\ncd34,portal,portal,False,test\n"
    )
    found = read_published_targets(tmp_path / "data", table)
    assert [(t.label, t.kind) for t in found] == [
        ("rose window", "positive"), ("rose window", "negative"), ("portal", "positive")
    ]  # fmt: skip
    probability, region = found[1].maps(24, 36)
    torch.testing.assert_close(probability[region], torch.full_like(probability[region], 0.1))
    assert torch.equal(region, torch.tril(torch.ones(24, 36)) > 0)
    assert found[0].image().shape == (3, 24, 36)


@pytest.mark.parametrize(
    ("line", "words"),
    [("ff,portal,portal,False,train", "expected a photo"), ("cd34,apse,apse,False,train", "apse")],
)
def test_the_originals_layout_with_a_file_missing(tmp_path: Path, line: str, words: str):
    write_original(tmp_path / "data", "cd34", "portal", negative=False)
    (tmp_path / "t.csv").write_text(f"hash,label_raw,label,has_neg,spl\n{line}\n")
    with pytest.raises(BadInput, match=words):
        read_published_targets(tmp_path / "data", tmp_path / "t.csv")


def test_pickled_arrays_are_refused(tmp_path: Path):
    for name in ("a.npy", "b.npy"):
        np.save(tmp_path / name, np.array([{"no": "thanks"}], dtype=object))
    target = Target(tmp_path / "p.jpg", "portal", (tmp_path / "a.npy", tmp_path / "b.npy"))
    with pytest.raises(BadInput, match="cannot be read"):
        target.maps(4, 4)


def test_photos_are_upright_and_never_enlarged(tmp_path: Path):
    picture = Image.fromarray(np.zeros((40, 80, 3), np.uint8))
    exif = picture.getexif()
    exif[0x0112] = 6  # turned by a quarter
    picture.save(tmp_path / "p.jpg", exif=exif)
    assert photo_tensor(tmp_path / "p.jpg").shape == (3, 80, 40)
    assert photo_tensor(tmp_path / "p.jpg", 40).shape == (3, 40, 20)
    assert photo_tensor(tmp_path / "p.jpg", 400).shape == (3, 80, 40)


def batches(plain: list[TrainingPhoto], paired: list[TrainingPhoto], **change: object) -> AdaptationBatches:
    options: dict = {
        "target_share": 0.5, "words": ["tower", "dome"], "prompts": 3, "batch": 4, "plurals": 0.0, "relight": 0.0,
        "size": 64, "crop_sides": (0.3, 0.5), "candidates": 2, "details": 1, "batches": 8, "seed": 0,
    }  # fmt: skip
    return AdaptationBatches(plain, paired, **{**options, **change})


def test_batches_combine_targets_of_several_close_ups(tmp_path: Path):
    rows = [
        put_target(tmp_path, "a", "portal", "positive", left=True),
        put_target(tmp_path, "a", "portal", "positive", left=False),
        put_target(tmp_path, "a", "tower", "negative", left=True),
    ]
    write_targets(tmp_path, rows)
    (study,) = group_targets(read_targets(tmp_path))
    assert study.labels == ("portal",)
    batch = batches([], [study])[0]
    assert len(batch["photos"]) == 4
    portal, tower = batch["prompts"].index("portal"), batch["prompts"].index("tower")
    assert (batch["votes"][0][portal] == 1).all()
    assert (batch["votes"][0][tower][:, :15] == 1).all()
    assert not batch["votes"][0][tower][:, 15:].any()
    level = np.log(204 / 51)  # the log-odds of 0.8 in eight bits
    torch.testing.assert_close(batch["evidence"][0][portal], torch.full((20, 30), level, dtype=torch.float32))
    assert batch["own"][0].tolist() == [word == "portal" for word in batch["prompts"]]


def test_batches_depend_on_seed_and_number_alone(tmp_path: Path):
    write_targets(tmp_path, [put_target(tmp_path, name, "portal", "positive", left=True) for name in "ab"])
    studies = group_targets(read_targets(tmp_path))
    plain = [TrainingPhoto(study.photo, ("dome",)) for study in studies]
    one, other = batches(plain, studies, relight=1.0), batches(plain, studies, relight=1.0)
    assert torch.equal(torch.stack(one[3]["augmented"]), torch.stack(other[3]["augmented"]))
    assert one[3]["prompts"] == other[3]["prompts"]
    assert torch.equal(one[3]["crops"], other[3]["crops"])
    assert not torch.equal(one[3]["crops"][:2], one[4]["crops"][:2])


def test_detail_crops_belong_to_the_photo(tmp_path: Path):
    write_targets(tmp_path, [put_target(tmp_path, "a", "portal", "positive", left=True)])
    made = batches([], group_targets(read_targets(tmp_path)))
    assert torch.equal(made[0]["crops"][2], made[1]["crops"][2])
    assert (made[0]["crops"][..., 2] >= 0.3).all()
    assert (made[0]["crops"][..., 2] <= 0.5).all()


def test_plurals_have_their_share(tmp_path: Path):
    write_targets(tmp_path, [put_target(tmp_path, "a", "gallery", "positive", left=True)])
    studies = group_targets(read_targets(tmp_path))
    assert "galleries" in batches([], studies, plurals=1.0)[0]["prompts"]
    assert "gallery" in batches([], studies)[0]["prompts"]


NEAR, FAR = (64, 48), (96, 72)  # px, (width, height)
SCALE, CORNER = 0.5, (20.0, 16.0)  # a pixel of the close-up is half a pixel of the farther photo


class Wall:
    """Two photos of one wall: "near.jpg" shows a part of "far.jpg" twice as large; a third is of another wall."""

    def __init__(self, folder: Path) -> None:
        self.names = ["far.jpg", "near.jpg", "other.jpg"]
        self.split = ["train"] * 3
        self.views = [SimpleNamespace(width=w, height=h) for w, h in (FAR, NEAR, NEAR)]

    def __len__(self) -> int:
        return 3

    def index(self, name: str) -> int:
        return self.names.index(name)

    def indices(self, split: str) -> list[int]:
        return [i for i, side in enumerate(self.split) if side == split]

    def photo(self, i: int) -> Tensor:
        return torch.full((self.views[i].height, self.views[i].width, 3), 40 * i, dtype=torch.uint8)

    def valid(self, i: int) -> Tensor:
        valid = torch.ones(self.views[i].height, self.views[i].width, dtype=torch.bool)
        valid[:2] = i == 1  # undistortion left nothing in two rows of the far photo
        return valid


class LeftIsPortal:
    """Predicts "portal" on a photo's left half and "dome" nowhere; unknown on the lowest eighth."""

    def encode(self, images: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        return {"images": images}

    def decode(self, encoded: dict[str, Tensor], prompts: Sequence[str]) -> Tensor:
        _, _, height, width = encoded["images"].shape
        logits = torch.full((1, len(prompts), height, width), -6.0)
        logits[0, list(prompts).index("portal"), :, : width // 2] = 6.0
        logits[..., height - height // 8 :, :] = torch.nan
        return logits


def mined(root: Path, table: str = "csv") -> dict[str, Path]:
    """Finished folders of `distill` and `mine`: the close-up has the label portal, two other photos have dome."""
    inputs = {name: root / name for name in ("ingest", "distill", "mine")}
    for folder in inputs.values():
        folder.mkdir()
    labels = {"near.jpg": "portal", "far.jpg": "dome", "other.jpg": "dome"}
    rows = [PseudoLabel(n, label, 0.8) for n, label in labels.items()]
    write_labels(table_path(inputs["distill"], table), rows)
    homography = [SCALE, 0, CORNER[0], 0, SCALE, CORNER[1], 0, 0, 1]
    pair = {"photo1": "far.jpg", "scale_ratio": 2.0, "matches": 81, "inliers": 81, "coverage": 1.0, "inside": 1.0}
    pairs = [{"photo0": name, **pair, "quality": q, "homography": homography} for name, q in (("near.jpg", 0.9),)]
    pd.DataFrame(pairs).to_parquet(inputs["mine"] / "pairs.parquet", index=False)
    grid = np.stack(np.meshgrid(np.linspace(2, 62, 9), np.linspace(2, 46, 9)), axis=-1).reshape(-1, 2)
    write_npz(
        inputs["mine"] / "matches.npz",
        starts=np.array([0, 81]),
        points0=grid.astype(np.float32),
        points1=(grid * SCALE + CORNER).astype(np.float32),
        inlier=np.ones(81, bool),
        rigid=np.ones(81, bool),
    )
    return inputs


@pytest.mark.parametrize(("warp", "table"), [("homography", "csv"), ("local", "csv"), ("local", "parquet")])
def test_predictions_on_a_close_up_are_warped_into_the_farther_photo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warp: str, table: str
):
    monkeypatch.setattr(stage_module, "Scene", Wall)
    inputs = mined(tmp_path, table)
    stage = Targets({"_target_": f"{__name__}.LeftIsPortal"}, warp=warp, max_words=1, min_photos=2)
    out = tmp_path / "out"
    out.mkdir()
    stage.bind(out, inputs, seed=0)
    stage.prepare()
    assert list(stage.items()) == ["near.jpg"]
    stage.predict_step("near.jpg", 0)
    assert stage.done("near.jpg")
    stage.finish()
    portal, dome = read_targets(out)
    assert (portal.label, portal.kind, portal.close_up) == ("portal", "positive", "near.jpg")
    assert (dome.label, dome.kind) == ("dome", "negative")
    probability, region = portal.maps(FAR[1], FAR[0])
    left, top = CORNER
    assert probability[24, int(left) + 4] > 0.9
    assert probability[24, int(left) + 28] < 0.1
    assert region[24, int(left) + 4]
    assert region[24, int(left) + 28]
    assert not region[:, : int(left) - 1].any()  # outside the close-up
    assert not region[int(top) + 22 :].any()  # where the segmenter's output is unknown
    assert not dome.maps(FAR[1], FAR[0])[0].max() > 0.1
    assert (out / "overview.png").is_file()
    assert stage.summary() == {
        "close_ups": 1, "photos": 1, "positive": 1, "negative": 1, "open": 0, "labels": ["portal"]
    }  # fmt: skip


def test_close_ups_without_a_label_get_the_frequent_labels_as_prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stage_module, "Scene", Wall)
    inputs = mined(tmp_path)
    labels = [
        PseudoLabel("near.jpg", ""),
        PseudoLabel("far.jpg", "portal", 0.8),
        PseudoLabel("other.jpg", "portal", 0.8),
    ]
    write_labels(inputs["distill"] / "labels.csv", labels)
    for unlabelled, items in ((True, ["near.jpg"]), (False, [])):
        stage = Targets({"_target_": f"{__name__}.LeftIsPortal"}, unlabelled=unlabelled)
        (tmp_path / str(unlabelled)).mkdir()
        stage.bind(tmp_path / str(unlabelled), inputs, seed=0)
        stage.prepare()
        assert list(stage.items()) == items
        for item in items:
            stage.predict_step(item, 0)
        stage.finish()
    (target,) = read_targets(tmp_path / "True")
    assert (target.label, target.kind) == ("portal", "open")
    assert target.maps(FAR[1], FAR[0])[0].max() > 0.9


def test_pairs_of_poor_quality_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stage_module, "Scene", Wall)
    options: dict[str, Any] = {"min_quality": 0.95}
    stage = Targets({"_target_": f"{__name__}.LeftIsPortal"}, **options)
    (tmp_path / "out").mkdir()
    stage.bind(tmp_path / "out", mined(tmp_path), seed=0)
    stage.prepare()
    assert list(stage.items()) == []
    stage.finish()
    assert read_targets(tmp_path / "out") == []
