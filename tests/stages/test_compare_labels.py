"""Two distillers on the same records: the table, the page, and the plan that makes both first."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from halonerf.cli import composed
from halonerf.data.labels.table import write_labels
from halonerf.errors import BadInput
from halonerf.pipeline.plan import resolve
from halonerf.stages.compare_labels import CompareLabels
from halonerf.types import PseudoLabel

TEXT = "".join(f"W/cathedrals/1/pictures/{n}.jpg:[]:<b>caption</b> {n}:Exterior\n" for n in ("=a", "b", "c"))


def test_disagreements(tmp_path: Path):
    (tmp_path / "t.txt").write_text(TEXT.replace("W/cathedrals/1/pictures/=a", "=a"))
    ids = ["=a.jpg", *(f"W/cathedrals/1/pictures/{n}.jpg" for n in "bc")]
    answers = {"one": ["portal", "tower", ""], "two": ["portal", "spire", "+nave"]}
    inputs = {}
    for name, labels in answers.items():
        inputs[f"{name}/distill"] = tmp_path / name
        (tmp_path / name).mkdir()
        rows = [PseudoLabel(i, label, 0.5 * bool(label), label) for i, label in zip(ids, labels, strict=True)]
        write_labels(
            tmp_path / name / "labels.csv", [*rows, PseudoLabel(ids[2], "less sure", 0.1)][: 3 + (name == "two")]
        )
    corpus = {"_target_": "halonerf.data.corpora.WikiScenesText", "path": str(tmp_path / "t.txt")}
    stage = CompareLabels({"one": {}, "two": {}}, corpus)
    (tmp_path / "out").mkdir()
    stage.bind(tmp_path / "out", inputs, 0)
    stage.predict_step("disagreements", 0)
    with open(tmp_path / "out" / "disagreements.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["image_id"], row["one_label"], row["two_label"]) for row in rows] == [
        (ids[1], "tower", "spire"), (ids[2], "", "'+nave"),
    ]  # fmt: skip
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["labelled"] == {"one": 2, "two": 3}
    assert metrics["same"] == {"one = two": pytest.approx(1 / 3)}
    assert stage.summary()["disagreements"] == 2
    page = (tmp_path / "out" / "disagreements.html").read_text()
    assert "&lt;b&gt;caption" in page
    assert "spire" in page


def test_the_plan_distills_with_each_first(tmp_path: Path):
    (tmp_path / "t.txt").write_text(TEXT)
    overrides = ["stage=compare_labels", "corpus=wikiscenes_text", f"corpus.path={tmp_path / 't.txt'}"]
    overrides += [f"+distiller@compare_labels.distillers.{name}=rules" for name in ("one", "two")]
    overrides += ["compare_labels.distillers.two.labels=3"]
    plan = resolve(composed(overrides)).steps
    assert [(step.stage, step.scene) for step in plan] == [("distill", "t")] * 2 + [("compare_labels", "t")]
    assert [step.config["distiller"]["labels"] for step in plan[:2]] == [1, 3]


def test_at_least_two_distillers_are_needed():
    with pytest.raises(BadInput, match="two or more"):
        CompareLabels({"rules": {}})
