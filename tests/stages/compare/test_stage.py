"""One table of several runs: its metrics are those of `evaluate`, by method, scene and protocol."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from halonerf.data.scene.scene import Scene
from halonerf.errors import BadInput
from halonerf.evaluation.tables import MEAN, format_spread, scene_spreads, text_table
from halonerf.pipeline.spec import StageSource
from halonerf.stages.compare.runs import READ_STAGES, RunGrid
from halonerf.stages.compare.stage import Compare
from halonerf.stages.evaluate import Evaluate
from helpers.made_folders import run_stage, write_folders, write_masks

METHODS = {
    "flat": {"title": "2D & flat", "maps": "2d"},
    "exact": {"maps": "3d"},
    "blank": {"title": "<b>blank</b>", "maps": "3d", "overrides": {"head": {"_target_": "other"}}},
}


def run(root: Path, blank: bool = False) -> dict[str, Path]:
    """Finished folders of a run; `blank`: with empty 3D maps."""
    folders = write_folders(root)
    names = Scene(folders["ingest"]).names
    for concept in ("window", "dome"):
        write_masks(root / "masks", concept, names)
    if blank:
        for path in (folders["localize"] / "renders").glob("*.npz"):
            with np.load(path) as arrays:
                np.savez(path, probability=np.zeros_like(arrays["probability"]), confidence=arrays["confidence"])
    folders["evaluate"] = root / "evaluate"
    run_stage(Evaluate(masks=str(root / "masks")), folders["evaluate"], folders)
    manifest = {"config": {"masks": str(root / "masks")}, "wall_s": 1.0}
    (folders["evaluate"] / "manifest.json").write_text(json.dumps(manifest))
    return folders


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The inputs of two scenes by three methods; the second scene has no blank map."""
    root = tmp_path_factory.mktemp("inputs")
    made = {"good": run(root / "good"), "blank": run(root / "blank", blank=True)}
    chosen = {"flat": "good", "exact": "good", "blank": "blank"}
    return {
        f"{scene}/own/{method}/{stage}": made["good" if scene == "two" else chosen[method]][stage]
        for scene in ("one", "two")
        for method in METHODS
        for stage in READ_STAGES
    }


def compare(folder: Path, inputs: dict[str, Path], **options: Any) -> Compare:
    stage = Compare(scenes={"one": {"a": 1}, "two": {"a": 2}}, methods=METHODS, **{"draws": 50, **options})
    stage.needs = tuple(inputs)  # type: ignore[misc]  # what run_stage hands over
    run_stage(stage, folder, inputs)
    return stage


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory, inputs: dict[str, Path]) -> Path:
    folder = tmp_path_factory.mktemp("compared") / "out"
    compare(folder, inputs)
    return folder


def test_the_grid_has_every_scene_protocol_and_method():
    protocols = {"paper": {}, "heldout": {"localize": {"views": "train"}}}
    found = RunGrid.from_options({"one": {"a": 1}, "two": {"a": 2}}, METHODS, protocols).sources()
    assert len(found) == 2 * 3 * 2
    assert found["two/heldout/blank"] == StageSource(
        {"a": 2}, READ_STAGES, {"head": {"_target_": "other"}, "localize": {"views": "train"}}
    )
    assert RunGrid.from_options(None, None, None).sources() == {
        "own/2d": StageSource(None, READ_STAGES, {}), "own/3d": StageSource(None, READ_STAGES, {})
    }  # fmt: skip


def test_the_options_of_a_method_are_checked():
    with pytest.raises(BadInput, match=r"compare.methods.x to have maps: 2d or 3d"):
        Compare(methods={"x": {"title": "no maps"}})
    with pytest.raises(BadInput, match="color"):
        Compare(methods={"x": {"maps": "3d", "color": "red"}})


def test_metrics_are_those_of_evaluate(compared: Path, inputs: dict[str, Path]):
    ap = json.loads((compared / "metrics.json").read_text())["ap"]["own"]
    for method, maps in (("flat", "2d"), ("exact", "3d")):
        evaluated = json.loads((inputs[f"one/own/{method}/evaluate"] / "metrics.json").read_text())
        for concept in ("window", "dome"):
            assert ap[concept][method]["mean"] == pytest.approx(evaluated["concepts"][concept]["ap"][maps], abs=1e-6)
    assert ap[MEAN]["exact"] == {"mean": pytest.approx(1.0), "sd": pytest.approx(0.0), "scenes": 2}
    blank = json.loads((inputs["one/own/blank/evaluate"] / "metrics.json").read_text())["map"]["halonerf_3d"]
    assert ap[MEAN]["blank"]["mean"] == pytest.approx((1 + blank) / 2, abs=1e-6)
    assert ap[MEAN]["blank"]["sd"] == pytest.approx((1 - blank) / 2**0.5, abs=1e-6)


def test_every_pair_of_methods_is_compared(compared: Path):
    with open(compared / "differences.csv", newline="", encoding="utf-8") as stream:
        gaps = {(row["method"], row["other"]): row for row in csv.DictReader(stream)}
    assert len(gaps) == 6
    ahead, behind = gaps["exact", "blank"], gaps["blank", "exact"]
    assert float(ahead["mean"]) > 0.1
    assert float(ahead["positive"]) == 1.0
    assert float(behind["mean"]) == pytest.approx(-float(ahead["mean"]))
    assert float(ahead["low"]) <= float(ahead["mean"]) <= float(ahead["high"])


def test_tables_and_pictures_are_written(compared: Path):
    with open(compared / "per_image.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["method"] for row in rows} == set(METHODS)
    assert sum(row["method"] == "exact" for row in rows) == 2 * 4 * 2  # scenes, photos, concepts
    assert r"2D \& flat" in (compared / "table_own.tex").read_text()
    assert (compared / "table_own.csv").read_text().count("\n") > 10
    with Image.open(compared / "pictures.png") as picture:
        assert picture.width > 5 * 250  # photo, three methods, truth
    with Image.open(compared / "curves_own.png") as picture:
        assert len(picture.convert("L").getcolors()) > 10
    page = (compared / "report.html").read_text()
    assert "&lt;b&gt;blank&lt;/b&gt;" in page
    assert "<b>blank</b>" not in page


def test_scenes_without_masks_cannot_be_compared(tmp_path: Path, inputs: dict[str, Path]):
    empty = dict(inputs)
    for key in [key for key in inputs if key.endswith("/evaluate")]:
        empty[key] = tmp_path / key.replace("/", "_")
        shutil.copytree(inputs[key], empty[key])
        header = (inputs[key] / "per_image.csv").read_text().splitlines()[0]
        (empty[key] / "per_image.csv").write_text(header + "\n")
    with pytest.raises(BadInput, match="none of the scenes has masks"):
        compare(tmp_path / "out", empty)


def test_a_mean_over_scenes_is_the_mean_of_concept_means():
    def row(scene: str, concept: str, photo: str, ap: float | None) -> dict[str, Any]:
        return {"scene": scene, "concept": concept, "photo": photo, "method": "m", "ap": ap}

    rows = [row("a", "w", "1", 0.2), row("a", "w", "2", 0.4), row("a", "d", "1", 0.9), row("b", "w", "1", 0.7)]
    found = scene_spreads([*rows, row("b", "d", "1", None)])
    assert found["w"]["m"] == {"mean": pytest.approx(0.5), "sd": pytest.approx(0.4 / 2**0.5), "scenes": 2}
    assert found["d"]["m"] == {"mean": pytest.approx(0.9), "sd": None, "scenes": 1}
    assert found[MEAN]["m"]["mean"] == pytest.approx((0.6 + 0.7) / 2)


def test_a_text_table_is_aligned():
    found = {
        "window": {"m": {"mean": 0.5, "sd": 0.1, "scenes": 2}},
        "d": {"n": {"mean": 0.25, "sd": None, "scenes": 1}},
    }
    lines = text_table(found, {"m": "First", "n": "Second"}).splitlines()
    assert [line.split() for line in lines] == [
        ["concept", "First", "Second"], ["window", "0.500", "±", "0.100", "–"], ["d", "–", "0.250"]
    ]  # fmt: skip
    assert len({len(line) for line in lines}) == 1
    assert format_spread(None) == "–"
