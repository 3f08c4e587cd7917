"""The distill stage: one row a label, scores against the truth, resuming by batch."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from halonerf.data.collection import write_collection
from halonerf.data.labels.table import best_labels, read_labels, write_labels
from halonerf.errors import BadInput
from halonerf.pipeline.plan import identity_of
from halonerf.stages.distill.scoring import score
from halonerf.stages.distill.shards import LabelShard, LabelShards
from halonerf.stages.distill.stage import Distill, RareLabelMerger
from halonerf.types import ImageRecord, PseudoLabel
from helpers.made_folders import run_stage

RULES = {"_target_": "halonerf.distillers.Rules"}
RECORDS = [
    ImageRecord("a.jpg", caption="The dome"),
    ImageRecord("b.jpg", caption='A "window", with\na comma, and a line'),
    ImageRecord("c.jpg", caption="Unknown"),
    ImageRecord("d.jpg", caption="Two towers"),
    ImageRecord("e.jpg", caption="View from the tower"),
]
TRUTH = {"a.jpg": "dome", "b.jpg": "portal", "c.jpg": "", "d.jpg": "tower"}


class Counting:
    """A distiller that counts the records that it gets."""

    queried: list[str]

    def __init__(self) -> None:
        self.queried = []

    def distill(self, records: Sequence[ImageRecord]) -> list[PseudoLabel]:
        self.queried += [record.image_id for record in records]
        return [PseudoLabel(record.image_id, "dome", 0.5) for record in records]


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "collect").mkdir()
    write_collection(tmp_path / "collect", "made", tmp_path, RECORDS, truth=TRUTH)
    return {"collect": tmp_path / "collect"}


def test_labels_and_metrics(tmp_path: Path, inputs: dict[str, Path]):
    stage = run_stage(Distill(RULES, batch=2), tmp_path / "out", inputs)
    with open(tmp_path / "out" / "labels.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["image_id"], row["label"]) for row in rows] == [
        ("a.jpg", "dome"), ("b.jpg", "window"), ("c.jpg", ""), ("d.jpg", "tower"), ("e.jpg", ""),
    ]  # fmt: skip
    assert rows[0]["evidence"] == "dome"
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["accuracy"] == 0.75  # of the four whose truth is known
    assert metrics["precision"] == pytest.approx(2 / 3)
    assert metrics["recall"] == pytest.approx(2 / 3)
    assert metrics["confusions"] == [{"truth": "portal", "answer": "window", "count": 1}]
    summary = stage.summary()
    assert (summary["records"], summary["labelled"], summary["accuracy"]) == (5, 3, 0.75)
    assert summary["labels"] == {"dome": 1, "window": 1, "tower": 1}
    assert summary["records_per_s"] > 0


def test_no_truth_no_metrics(tmp_path: Path):
    (tmp_path / "collect").mkdir()
    write_collection(tmp_path / "collect", "made", tmp_path, RECORDS)
    stage = run_stage(Distill(RULES), tmp_path / "out", {"collect": tmp_path / "collect"})
    assert not (tmp_path / "out" / "metrics.json").exists()
    assert "accuracy" not in stage.summary()


def test_a_killed_run_resumes_with_the_next_batch(tmp_path: Path, inputs: dict[str, Path], monkeypatch):
    whole = run_stage(Distill(RULES, batch=2), tmp_path / "whole", inputs)
    run_stage(Distill(RULES, batch=2), tmp_path / "out", inputs, most=2)
    (tmp_path / "out" / "parts" / "labels" / ".00000004.parquet.half").write_text(
        "PAR1"
    )  # what a kill in the middle leaves
    queried: list[str] = []
    original = type(whole.distiller).distill
    monkeypatch.setattr(
        type(whole.distiller), "distill", lambda self, r: queried.extend(x.image_id for x in r) or original(self, r)
    )
    run_stage(Distill(RULES, batch=2), tmp_path / "out", inputs)
    assert queried == ["e.jpg"]
    assert (tmp_path / "out" / "labels.csv").read_bytes() == (tmp_path / "whole" / "labels.csv").read_bytes()


def test_a_minimal_distiller_is_enough(tmp_path: Path, inputs: dict[str, Path]):
    stage = run_stage(Distill({"_target_": f"{__name__}.Counting"}, batch=3), tmp_path / "out", inputs)
    assert stage.distiller.queried == [record.image_id for record in RECORDS]
    assert {label.label for label in read_labels(tmp_path / "out" / "labels.csv")} == {"dome"}


def test_records_of_any_kind_pass_through(tmp_path: Path):
    captions = ["x" * 300_000, "\x00\ud800 \u202eportal\r\n", "=1+1", '<a href="javascript:">window</a>', "\udcff" * 9]
    records = [ImageRecord(f"{i}.jpg", caption=text, categories=("tower",) * 40_000) for i, text in enumerate(captions)]
    (tmp_path / "collect").mkdir()
    write_collection(tmp_path / "collect", "made", tmp_path, records)
    run_stage(Distill(RULES, batch=2), tmp_path / "out", {"collect": tmp_path / "collect"})
    labels = read_labels(tmp_path / "out" / "labels.csv")
    assert [label.label for label in labels] == ["tower", "portal", "tower", "window", "tower"]


def test_the_most_confident_of_several_labels_counts():
    labels = [PseudoLabel("a", "dome", 0.4), PseudoLabel("a", "tower", 0.7), PseudoLabel("a", "altar", 0.7)]
    assert best_labels(labels) == {"a": "tower"}
    assert score(labels, {"a": "tower"})["accuracy"] == 1.0


def test_a_kind_of_the_truth_is_right_and_the_other_way_round_is_not():
    labels = [PseudoLabel("a", "bell tower", 0.9), PseudoLabel("b", "window", 0.9)]
    kinds = {"bell tower": ["tower"], "rose window": ["window"]}
    found = score(labels, {"a": "tower", "b": "rose window"}, lambda label: kinds.get(label, []))
    assert (found["accuracy"], found["accuracy_exact"]) == (0.5, 0.0)
    assert found["confusions"] == [{"truth": "rose window", "answer": "window", "count": 1}]


def test_scores_with_nothing_to_divide_by_are_none():
    assert score([PseudoLabel("a", "")], {"a": ""}) == {
        "records": 1, "accuracy": 1.0, "accuracy_exact": 1.0, "precision": None, "recall": None, "confusions": [],
    }  # fmt: skip
    assert score([], {"a": "dome"})["accuracy"] is None


def test_labels_survive_the_file(tmp_path: Path):
    labels = [PseudoLabel("a,b.jpg", "rose window", 0.25, 'the "rose"\nwindow'), PseudoLabel("ü.jpg", "")]
    write_labels(tmp_path / "labels.csv", labels)
    assert read_labels(tmp_path / "labels.csv") == labels


def test_rare_labels_become_broader_ones_or_unknown(tmp_path: Path):
    captions = ["The tower", "A tower", "The bell tower", "Rose window", "A window", "The organ", "nothing"]
    records = [ImageRecord(f"{i}.jpg", caption=text) for i, text in enumerate(captions)]
    (tmp_path / "collect").mkdir()
    write_collection(tmp_path / "collect", "made", tmp_path, records)
    stage = run_stage(Distill(RULES, min_count=2), tmp_path / "out", {"collect": tmp_path / "collect"})
    labels = read_labels(tmp_path / "out" / "labels.csv")
    assert [label.label for label in labels] == ["tower", "tower", "tower", "", "", "", ""]
    assert labels[2].evidence == "bell tower"
    assert labels[5] == PseudoLabel("5.jpg", "")
    summary = stage.summary()
    assert summary["labels"] == {"tower": 3}
    assert summary["merged"] == {"labels": 4, "rows": 4, "broader": 1, "unknown": 3}
    assert "merged" not in run_stage(Distill(RULES), tmp_path / "all", {"collect": tmp_path / "collect"}).summary()


def test_labels_with_the_same_replacement_are_merged():
    groups = [[PseudoLabel("a", "rose window", 0.9, "rose"), PseudoLabel("a", "window", 0.5, "window")]]
    replacement = {"rose window": "window", "window": "window"}
    merger = RareLabelMerger(groups, lambda counts, min_count: replacement, 2)
    assert merger(groups[0]) == [PseudoLabel("a", "window", 0.9, "rose")]
    assert merger.figures() == {"labels": 1, "rows": 1, "broader": 1, "unknown": 0}


def test_min_count_needs_a_label_hierarchy(tmp_path: Path, inputs: dict[str, Path]):
    with pytest.raises(BadInput, match=r"distill\.min_count=1"):
        run_stage(Distill({"_target_": f"{__name__}.Counting"}, min_count=2), tmp_path / "out", inputs)


def test_the_engine_does_not_change_the_fingerprint():
    options = {"_target_": "halonerf.stages.Distill", "distiller": RULES, "min_count": 1}
    elsewhere = {**options, "engine": "ray", "workers": 4, "worker_gpus": 0.5, "address": "auto"}
    assert identity_of(elsewhere) == identity_of(options)
    assert identity_of({**options, "min_count": 2}) != identity_of(options)


def test_records_come_back_from_their_shards_as_they_were(tmp_path: Path):
    odd = ImageRecord("\udcff.jpg", "Łódź", "ü.jpg", "\x00\ud800 portal", ("a", "", "\ud83d"), "mosque")
    shards = LabelShards(tmp_path)
    assert shards.write_records(iter([*RECORDS, odd, ImageRecord("")]), 3) == 7
    assert shards.read_records(0) == RECORDS[:3]
    assert shards.read_records(3) == [*RECORDS[3:], odd]
    assert shards.read_records(6) == [ImageRecord("")]
    shards.delete_records()
    shards.write(
        0,
        LabelShard(
            [[PseudoLabel("a", "x", 0.123456789, "e"), PseudoLabel("a", "y")], [PseudoLabel("b", "")]], 2.5, {"n": 1}
        ),
    )
    assert shards.write_records(iter(RECORDS), 2) == 5
    assert not (shards.records / "00000000.parquet").exists()  # its labels are there
    kept = shards.read(0)
    assert kept.groups == [[PseudoLabel("a", "x", 0.123456789, "e"), PseudoLabel("a", "y")], [PseudoLabel("b", "")]]
    assert (kept.seconds, kept.counts) == (2.5, {"n": 1})
