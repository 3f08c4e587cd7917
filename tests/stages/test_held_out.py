"""Nothing of a held-out photo reaches what fitted photos get: its pixels, maps and labels change, and no bit does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from halonerf.data.collection import write_collection
from halonerf.data.formats.photo_choice import read_concept_weights
from halonerf.data.labels.table import write_labels
from halonerf.data.scene.scene import Scene, held_out_photos
from halonerf.errors import BadInput
from halonerf.evaluation.protocol import check_taught
from halonerf.files import read_csv, write_json
from halonerf.stages import targets as targets_module
from halonerf.stages.adapt_clip.stage import AdaptClip
from halonerf.stages.adapt_segmenter.dataset import unpaired_photos
from halonerf.stages.localize import Localize
from halonerf.stages.mine.stage import Mine
from halonerf.stages.segment.stage import Segment
from halonerf.stages.targets import Targets
from halonerf.types import ImageRecord, PseudoLabel
from helpers.made_board import COLOURS, ELSEWHERE, HOUSE, picture, write_board_folders, write_photo
from helpers.made_folders import run_stage

HELD_OUT = (0, 6, 7, 13)  # of twenty photos
BOARD = {"_target_": "helpers.made_board.Board"}
LIFTED = {"_target_": "halonerf.heads.Lifted", "min_confidence": 0.0}


def hold_out(ingest: Path, views: tuple[int, ...] = HELD_OUT) -> None:
    """Rewrite the split of a finished ingest."""
    scene = json.loads((ingest / "scene.json").read_text())
    for number, view in enumerate(scene["views"]):
        view["split"] = "test" if number in views else "train"
    write_json(ingest / "scene.json", scene)


def alter(ingest: Path) -> None:
    """Other pixels in all held-out photos: each is the best of all, and shows the windows in another place."""
    random = np.random.default_rng(1)
    for view in HELD_OUT:
        photo = picture(red=HOUSE, green=ELSEWHERE)
        photo[::2] = random.integers(0, 255, photo[::2].shape, np.uint8)
        write_photo(ingest, view, photo)


def write_house(root: Path) -> None:
    """A finished ingest and reconstruct: twenty photos of one house that differ in every term of their scores."""
    inputs, names = write_board_folders(root)
    random = np.random.default_rng(0)
    for view in range(len(names)):
        photo = picture(red=(slice(8 + view % 3, 40), HOUSE[1]), green=(slice(16, 20 + view % 5), slice(20, 28)))
        noise = random.integers(0, 40 + view, photo.shape).astype(np.uint8)
        write_photo(inputs["ingest"], view, np.where(random.random(photo.shape) < 0.3, noise, photo).astype(np.uint8))
    hold_out(inputs["ingest"])


def written(house: Path, root: Path, altered: bool, **options: Any) -> tuple[Scene, Path, Path]:
    """The scene, copied to `root`, and the folders of `segment` and of `localize`, which lifts no held-out photo."""
    shutil.copytree(house, root)
    folders = {part: root / part for part in ("ingest", "reconstruct", "collect", "distill", "segment", "localize")}
    if altered:
        alter(folders["ingest"])
    scene = Scene(folders["ingest"])
    for part in ("collect", "distill"):
        folders[part].mkdir()
    write_collection(folders["collect"], "made", root, [ImageRecord(name) for name in scene.names])
    labels = [PseudoLabel(n, "window", 0.9) for n in scene.names[1:6]]
    labels += [PseudoLabel(scene.names[view], "dome" if altered else "window", 0.9) for view in HELD_OUT]
    write_labels(folders["distill"] / "labels.csv", labels)
    building = "cathedral" if "geometry" in options["score_terms"] else None
    stage = Segment(COLOURS, building=building, crop=False, **options)
    folders["segment"].mkdir()
    stage.bind(folders["segment"], {need: folders[need] for need in (*Segment.needs, "reconstruct")}, 0)
    stage.prepare()
    for index, item in enumerate(stage.items()):
        stage.predict_step(item, index)
    stage.finish()
    run_stage(Localize(LIFTED, BOARD, views="train"), folders["localize"], folders)
    return scene, folders["segment"], folders["localize"]


@pytest.mark.parametrize(
    ("terms", "combine", "selection", "max_photos"),
    [
        (["quality", "certainty", "agreement", "geometry", "occlusion"], "sum", "best", 9),
        (["quality", "agreement"], "product", "coverage", 7),
    ],
)
def test_altered_held_out_photos_change_no_bit_of_what_is_scored(
    tmp_path: Path, terms: list[str], combine: str, selection: str, max_photos: int
):
    options = {"score_terms": terms, "combine": combine, "selection": selection, "max_photos": max_photos}
    write_house(tmp_path / "house")
    runs = {
        name: written(tmp_path / "house", tmp_path / name, name == "altered", **options)
        for name in ("plain", "altered")
    }
    (scene, plain, localized), (_, altered, localized_altered) = runs["plain"], runs["altered"]
    fitted = {scene.names[view] for view in scene.indices("train")}
    assert json.loads((plain / "concepts.json").read_text()) == ["window"]
    assert (plain / "concepts.json").read_bytes() == (altered / "concepts.json").read_bytes()

    def rows(folder: Path, file: str) -> list[dict[str, str]]:
        return [row for row in read_csv(folder / file) if row["photo"] in fitted]

    assert rows(plain, "weights.csv") == rows(altered, "weights.csv")
    score = [
        (row["photo"], row["score"], row["chosen"], *(row[term] for term in terms)) for row in rows(plain, "choice.csv")
    ]
    assert score == [
        (row["photo"], row["score"], row["chosen"], *(row[term] for term in terms))
        for row in rows(altered, "choice.csv")
    ]
    assert len({row[1] for row in score}) > 3, "scores that do not differ would prove nothing"
    for view in scene.indices("train"):
        name = f"{view:05d}"
        assert np.load(plain / f"maps/{name}.npz")["probability"].tobytes() == (
            np.load(altered / f"maps/{name}.npz")["probability"].tobytes()
        )
        assert (plain / f"photos/{name}.json").read_bytes() == (altered / f"photos/{name}.json").read_bytes()
    if "agreement" in terms:
        assert (plain / "agreement/00001.json").read_bytes() == (altered / "agreement/00001.json").read_bytes()
        assert (plain / "agreement/00006.json").read_bytes() != (altered / "agreement/00006.json").read_bytes()
    assert (localized / "head.safetensors").read_bytes() == (localized_altered / "head.safetensors").read_bytes()
    for view in range(len(scene)):  # in the held-out views, too: that is what is scored
        with (
            np.load(localized / f"renders/{view:05d}.npz") as one,
            np.load(localized_altered / f"renders/{view:05d}.npz") as two,
        ):
            assert one["probability"].any()
            assert all(one[key].tobytes() == two[key].tobytes() for key in one.files)


def test_held_out_photos_are_selected_beside_the_fitted_ones(tmp_path: Path):
    write_house(tmp_path / "house")
    scene, folder, _ = written(
        tmp_path / "house", tmp_path / "made", altered=False, score_terms=["quality"], max_photos=10
    )
    chosen = [row["chosen"] == "true" for row in read_csv(folder / "choice.csv")]
    assert sum(chosen) == 10
    assert sum(chosen[view] for view in scene.indices("test")) == 2, "a fifth of the photos is held out"
    weights = read_concept_weights(folder)
    assert weights is not None
    assert all(weights[scene.names[view], "window"] > 0 for view in HELD_OUT), "localize.views=all may lift them"


class AnyMatches:
    """Finds a close-up in whatever two photos: the second shows the first at half its size."""

    def match(self, image0: torch.Tensor, image1: torch.Tensor, tracks: object = None) -> Any:
        from halonerf.types import Matches

        x, y = torch.meshgrid(torch.linspace(2, 60, 9), torch.linspace(2, 44, 9), indexing="xy")
        points = torch.stack([x.flatten(), y.flatten()], dim=1)
        shift = image0.mean() - image1.mean()
        return Matches(points, points * 0.5 + 10 + shift, torch.ones(len(points)))


@pytest.mark.parametrize("limit", [60, 1])
@pytest.mark.parametrize("proposals", ["tracks", "appearance", "both"])
def test_pairs_are_of_fitted_photos(tmp_path: Path, proposals: str, limit: int):
    write_house(tmp_path / "house")
    tables = {}
    for name in ("plain", "altered"):
        shutil.copytree(tmp_path / "house", tmp_path / name)
        ingest = tmp_path / name / "ingest"
        if name == "altered":
            alter(ingest)
        options = {"proposals": proposals, "neighbours": 3, "exhaustive_limit": limit, "min_shared": 1, "workers": 1}
        miner = {"_target_": f"{__name__}.AnyMatches"}
        stage = run_stage(Mine(miner, **options), tmp_path / name / "mine", {"ingest": ingest})  # type: ignore[arg-type]
        aside = held_out_photos(ingest)
        assert len(aside) == len(HELD_OUT)
        assert not {stage.scene.names[i] for pair in stage.proposals for i in pair} & aside  # type: ignore[attr-defined]
        tables[name] = pd.read_parquet(tmp_path / name / "mine" / "pairs.parquet")
        assert len(tables[name])
        with np.load(tmp_path / name / "mine" / "matches.npz") as arrays:
            tables[f"{name} matches"] = {key: arrays[key].tobytes() for key in arrays.files}
    pd.testing.assert_frame_equal(tables["plain"], tables["altered"])
    assert tables["plain matches"] == tables["altered matches"]


@pytest.mark.parametrize(("held_out", "left"), [((), 4), ((1,), 2), ((4,), 3)])
def test_targets_leave_out_pairs_with_a_held_out_photo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held_out: tuple[int, ...], left: int
):
    inputs, names = write_board_folders(tmp_path)
    hold_out(inputs["ingest"], held_out)
    inputs |= {"mine": tmp_path / "mine"}
    for part in ("distill", "mine"):
        inputs[part].mkdir()
    write_labels(
        inputs["distill"] / "labels.csv",
        [PseudoLabel(n, "window" if i == 1 else "dome", 0.9) for i, n in enumerate(names)],
    )
    pairs = [(1, 4), (1, 5), (2, 5), (3, 5)]
    rows = [
        {"photo0": names[a], "photo1": names[b], "quality": 1.0, "homography": [1.0, 0, 0, 0, 1, 0, 0, 0, 1]}
        for a, b in pairs
    ]
    pd.DataFrame(rows).to_parquet(inputs["mine"] / "pairs.parquet")
    np.savez(inputs["mine"] / "matches.npz", starts=np.zeros(5, int))
    stage = Targets(COLOURS)
    (tmp_path / "out").mkdir()
    stage.bind(tmp_path / "out", {need: inputs[need] for need in Targets.needs}, 0)
    stage.prepare()
    assert len(stage.pairs) == left
    frequent = ["dome"]
    assert stage.prompts == frequent
    assert targets_module.frequent_labels(inputs["distill"] / "labels.csv", set(names), 2) == frequent


def write_labelled(root: Path) -> tuple[dict[str, Path], list[str]]:
    """A finished collect, distill and ingest in which every photo has a label of its own."""
    inputs, names = write_board_folders(root)
    hold_out(inputs["ingest"])
    for part in ("collect", "distill"):
        inputs[part].mkdir()
    (inputs["collect"] / "photos").mkdir()
    scene = Scene(inputs["ingest"])
    for view, name in enumerate(names):
        from PIL import Image

        Image.fromarray(scene.photo(view).numpy()).save(inputs["collect"] / "photos" / name)
    write_collection(inputs["collect"], "made", "photos", [ImageRecord(name) for name in names])
    write_labels(inputs["distill"] / "labels.csv", [PseudoLabel(n, f"part {i}", 0.9) for i, n in enumerate(names)])
    return inputs, names


def test_held_out_photos_do_not_teach_the_segmenter(tmp_path: Path):
    inputs, names = write_labelled(tmp_path)
    for words in (None, ["portal"]):
        photos = unpaired_photos(inputs, [""], words, 0.0)
        assert {photo.photo.name for photo in photos} == {n for i, n in enumerate(names) if i not in HELD_OUT}
    assert not {label for photo in photos for label in photo.labels} & {f"part {i}" for i in HELD_OUT}
    named = {f"made/{stage}": folder for stage, folder in inputs.items()}
    assert len(unpaired_photos(named, ["made"], None, 0.0)) == 16
    del named["made/ingest"]  # another landmark, of which nothing is scored here
    assert len(unpaired_photos(named, ["made"], None, 0.0)) == 20


def test_held_out_photos_do_not_teach_clip(tmp_path: Path):
    inputs, names = write_labelled(tmp_path)
    stage = AdaptClip({"_target_": "halonerf.retrievers.Clip"})
    (tmp_path / "out").mkdir()
    stage.bind(tmp_path / "out", {need: inputs[need] for need in AdaptClip.requires({"landmarks": {}})}, 0)
    rows = stage._rows("")
    assert {row.photo.name for row in rows} == {n for i, n in enumerate(names) if i not in HELD_OUT}


def write_manifest(root: Path, stage: str, key: str, **entries: Any) -> Path:
    folder = root / "scene" / stage / key
    folder.mkdir(parents=True)
    write_json(folder / "manifest.json", entries)
    return folder


def test_what_no_stage_can_see_is_refused(tmp_path: Path):
    adapted = {"adapted": True, "concepts": None}
    own = {"collect": "c1", "distill": "d1", "adapt_segmenter": "a1"}
    segment = write_manifest(tmp_path, "segment", "s1", config=adapted, inputs=own)
    write_manifest(tmp_path, "distill", "d1", config={"min_count": 1})
    teacher = write_manifest(tmp_path, "adapt_segmenter", "a1", inputs={"collect": "c1", "ingest": "i1"})
    check_taught(segment)
    write_json(teacher / "manifest.json", {"inputs": {"milan/collect": "c2", "milan/distill": "d2"}})
    check_taught(segment)
    write_json(teacher / "manifest.json", {"inputs": {"milan/collect": "c1", "milan/ingest": "i1"}})
    check_taught(segment)
    for part in ("milan", "validation:milan"):
        write_json(teacher / "manifest.json", {"inputs": {f"{part}/collect": "c1"}})
        with pytest.raises(BadInput, match=f"as '{part}'"):
            check_taught(segment)
    write_json(tmp_path / "scene/distill/d1/manifest.json", {"config": {"min_count": 3}})
    with pytest.raises(BadInput, match=r"distill\.min_count=1"):
        check_taught(segment)
    write_json(
        segment / "manifest.json", {"config": {"adapted": False, "concepts": ["portal"]}, "inputs": {"distill": "d1"}}
    )
    check_taught(segment)
