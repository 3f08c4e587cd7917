"""Distill without a scene: streams, formula cells, both tables, weak labels, and runs killed at random moments."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from halonerf.artifacts import ArtifactStore
from halonerf.cli import composed
from halonerf.data.corpora.wikiscenes_text import WikiScenesText
from halonerf.data.labels.table import read_labels
from halonerf.distillers.rules import Rules
from halonerf.errors import BadInput
from halonerf.files import escape_cell, unescape_cell
from halonerf.pipeline.plan import Step, make_plan, resolve
from halonerf.stages.distill.scoring import WeakScores
from halonerf.stages.distill.shards import group_by_record
from halonerf.stages.distill.stage import Distill
from halonerf.types import ImageRecord, PseudoLabel
from helpers.made_corpus import corpus_of
from helpers.made_folders import run_stage

RULES = {"_target_": "halonerf.distillers.Rules"}
ROWS = [
    {"id": "=cmd|'/c calc'!A0", "text": "The portal", "truth": ["portal"]},
    {"id": "'-1.jpg", "text": "Tympanum", "truth": ["portal"]},
    {"id": 'a,\n"b".jpg', "text": "nothing", "truth": ["tower"]},
    {"id": "same.jpg", "text": "Rose window", "truth": ["window"]},
    {"id": "same.jpg", "text": "The organ", "truth": []},
]


class Whole:
    """A `ShardedDistiller` that labels each record with its caption."""

    folder: Path | None = None

    def open(self, folder: Path, worker: str = "") -> None:
        self.folder = folder

    @classmethod
    def bookkeeping(cls, options: Mapping[str, Any]) -> Whole:
        return cls(**options)

    def gather(self, folder: Path) -> dict[str, float]:
        return {"tokens": 3}

    def counts(self) -> dict[str, float]:
        return {}

    def distill(self, records: Sequence[ImageRecord]) -> list[PseudoLabel]:
        assert self.folder is not None
        time.sleep(0.001)
        return [PseudoLabel(r.image_id, r.caption, 0.5, r.caption) for r in records]

    def figures(self, counts: Mapping[str, float]) -> dict[str, Any]:
        return {"tokens": 4 + counts["tokens"]}


def run(folder: Path, stage: Distill, most: int | None = None) -> Distill:
    folder.mkdir(exist_ok=True)
    stage.needs = ()  # type: ignore[misc]
    run_stage(stage, folder, {}, most)
    return stage


@pytest.mark.parametrize("table", ["csv", "parquet"])
def test_ids_come_back_as_the_corpus_gave_them(tmp_path: Path, table: str):
    run(tmp_path / "out", Distill(RULES, corpus_of(tmp_path, ROWS), batch=2, table=table))
    labels = read_labels(tmp_path / "out" / "labels.csv")  # found under either name
    assert [label.image_id for label in labels] == [row["id"] for row in ROWS]
    assert [label.label for label in labels] == ["portal", "tympanum", "", "rose window", "organ"]


def test_no_cell_is_a_formula(tmp_path: Path):
    rows = [{"id": f"{sign}1", "text": f"{sign}portal", "truth": []} for sign in ("=", "+", "-", "@", "\t", "＝")]
    run(tmp_path / "out", Distill({"_target_": f"{__name__}.Whole"}, corpus_of(tmp_path, rows)))
    with open(tmp_path / "out" / "labels.csv", newline="", encoding="utf-8") as stream:
        cells = [cell for row in csv.reader(stream) for cell in row]
    assert not [cell for cell in cells if cell[:1] in tuple("=+-@\t\r＝＋－＠")]
    assert [label.evidence for label in read_labels(tmp_path / "out" / "labels.csv")] == [row["text"] for row in rows]


@pytest.mark.parametrize("cell", ["=1", "'=1", "''=1", "'", "", "'a", "-", "a=1", "@x", "\rx"])
def test_escaped_cells_are_restored(cell: str):
    assert unescape_cell(escape_cell(cell)) == cell


def test_weak_labels_are_scored_and_shown(tmp_path: Path):
    stage = run(tmp_path / "out", Distill(RULES, corpus_of(tmp_path, ROWS), batch=2))
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["any_of"]["exact"]["found"] == 1
    assert metrics["any_of"]["kind"]["found"] == 2  # a rose window is a window
    part = metrics["any_of"]["part"]
    assert (part["found"], part["wrong"], part["missed"]) == (3, 0, 1)
    assert part["micro_f1"] == pytest.approx(6 / 7)
    assert metrics["classes"]["portal"] == {"weak": 2, "predicted": 1, "precision": 1.0, "recall": 0.5}
    assert metrics["confusions"] == [{"weak": "tower", "answer": "", "count": 1}]
    assert stage.summary()["micro_f1_part"] == part["micro_f1"]
    page = (tmp_path / "out" / "labels.html").read_text()
    assert "Agreement with the weak labels" in page
    assert "Rose window" in page


def test_chance_is_what_shuffled_labels_reach():
    scores = WeakScores(["a", "b"], lambda label: (), lambda label: ())
    for name in ("a", "a", "b", "b"):
        scores.add([PseudoLabel("x", name, 1.0)], (name,))
    level = scores.result()["any_of"]["exact"]
    assert (level["micro_f1"], level["chance"]) == (1.0, 0.5)


def test_agreement_on_real_records(shared):
    """Up to three labels, each standing for what it is a kind or a part of; measured: 0.974, and 0.242 by chance."""
    corpus, rules = WikiScenesText(str(shared("wikiscenes_text"))), Rules(labels=3)
    classes = {label for labels in corpus.weak_labels() for label in labels}
    scores = WeakScores(classes, rules.broader, rules.wholes)
    for record, weak in zip(corpus.records(), corpus.weak_labels(), strict=True):
        scores.add(rules.distill([record]), weak)
    part = scores.result()["any_of"]["part"]
    assert part["micro_f1"] > 0.96
    assert part["chance"] < 0.3


def test_a_sharded_distiller_keeps_files_and_returns_figures(tmp_path: Path):
    stage = run(tmp_path / "out", Distill({"_target_": f"{__name__}.Whole"}, corpus_of(tmp_path, ROWS)))
    assert stage.distiller.folder == tmp_path / "out"
    assert stage.summary()["tokens"] == 7


def test_records_with_one_id_keep_their_own_labels():
    records = [ImageRecord("a"), ImageRecord("a"), ImageRecord("b")]
    labels = [PseudoLabel("a", "x", 1.0), PseudoLabel("a", "y", 1.0), PseudoLabel("b", "z", 1.0)]
    assert [[label.label for label in group] for group in group_by_record(records, labels, "")] == [["x"], ["y"], ["z"]]
    for wrong in (labels[:2], [*labels, PseudoLabel("c", "")], labels[::-1]):
        with pytest.raises(AssertionError):
            group_by_record(records, wrong, "Made")


def test_killed_at_random_moments(tmp_path: Path):
    """kill -9 wherever it is; each run goes on, none does a batch again, and the end is that of an unbroken run."""
    rows = [{"id": f"{i}.jpg", "text": f"part {i}", "truth": []} for i in range(1500)]
    distiller, corpus = {"_target_": f"{__name__}.Whole"}, corpus_of(tmp_path, rows)
    run(tmp_path / "whole", Distill(distiller, corpus, batch=10))
    out, chance, kills, seen = tmp_path / "out", random.Random(3), 0, 0
    while True:
        child = os.fork()
        if child == 0:
            try:
                run(out, Distill(distiller, corpus, batch=10))
                os._exit(0)
            finally:
                os._exit(1)
        time.sleep(chance.uniform(0.0, 0.2))
        if kills < 12:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        done = len(list((out / "parts" / "labels").glob("[0-9]*.parquet"))) if out.is_dir() else 0
        assert done >= seen
        seen = done
        if not os.WIFSIGNALED(status):
            assert status == 0
            break
        kills += 1
    assert kills >= 5
    assert (out / "labels.csv").read_bytes() == (tmp_path / "whole" / "labels.csv").read_bytes()
    assert len({label.image_id for label in read_labels(out / "labels.csv")}) == len(rows)


def test_no_such_table():
    with pytest.raises(BadInput, match="csv or parquet"):
        Distill(RULES, table="xls")


def planned(folder: Path, *overrides: str) -> list[Step]:
    return list(resolve(composed(["stage=distill", f"artifacts={folder}", *overrides])).steps)


def test_a_corpus_needs_no_scene_and_keeps_its_labels_under_its_name(tmp_path: Path):
    (tmp_path / "t.txt").write_text("W/cathedrals/1/pictures/a.jpg:['portal']:The portal:Exterior\n")
    given = ("corpus=wikiscenes_text", f"corpus.path={tmp_path / 't.txt'}", "corpus.name=words")
    (step,) = planned(tmp_path, *given)
    assert (step.scene, step.stage) == ("words", "distill")
    (tmp_path / "t.txt").write_text("W/cathedrals/1/pictures/a.jpg:['portal']:The nave:Exterior\n")
    assert planned(tmp_path, *given)[0].key != step.key


def test_a_newer_option_at_its_compatible_default_keeps_the_fingerprint(tmp_path: Path):
    (tmp_path / "t.txt").write_text("W/cathedrals/1/pictures/a.jpg:['portal']:The portal:Exterior\n")
    given = ("corpus=wikiscenes_text", f"corpus.path={tmp_path / 't.txt'}")
    (off,), (on,) = planned(tmp_path, *given), planned(tmp_path, *given, "distill.min_count=3")
    before = {key: value for key, value in off.config.items() if key != "min_count"}
    (older,) = make_plan("distill", {"distill": before}, "made", 0, ArtifactStore(tmp_path))
    assert older.key == off.key != on.key


def test_a_corpus_of_photos_is_a_scene(tmp_path: Path):
    steps = planned(tmp_path, "corpus=commons", "corpus.category=A minster", "corpus.contact=a@example.org")
    assert [step.stage for step in steps] == ["collect", "distill"]
    assert steps[0].config["scene"]["category"] == "A minster"
    assert {step.scene for step in steps} == {steps[1].scene}


def test_without_a_corpus_the_scene_is_read(tmp_path: Path):
    assert [(step.stage, step.scene) for step in planned(tmp_path)] == [
        ("collect", "cathedral_seed0"), ("distill", "cathedral_seed0"),
    ]  # fmt: skip
