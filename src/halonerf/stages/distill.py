"""Distill: from what people wrote about their photos to what each photo shows."""

from __future__ import annotations

import csv
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Collection as Words
from pathlib import Path
from typing import Any, ClassVar

from halonerf.artifacts import write_json
from halonerf.data.collection import Collection, write_csv
from halonerf.errors import BadInput
from halonerf.stages.base import Stage
from halonerf.stages.build import build
from halonerf.types import PseudoLabel

FIELDS = ("image_id", "label", "confidence", "evidence")


class Distill(Stage):
    """Writes `labels.csv`, one row a label and at least one a photo; `metrics.json` where the truth is known.

    Args:
        distiller: config of the label distiller. Where it has a method `broader(label)`, the label's wider words, an
            answer that is a kind of the truth counts as right.
        batch: records a shard of answers.
    """

    name: ClassVar[str] = "distill"
    needs: ClassVar[tuple[str, ...]] = ("collect",)

    def __init__(self, distiller: Mapping[str, Any], batch: int = 256) -> None:
        super().__init__()
        if batch < 1:
            raise BadInput(f"expected distill.batch of at least 1 record, got {batch}.")
        self.options, self.batch = distiller, batch

    def prepare(self) -> None:
        self.collection = Collection.read(self.inputs["collect"])
        self.records = self.collection.records()
        self.distiller = build(self.options)
        self.parts = self.folder / "parts"
        self.parts.mkdir(exist_ok=True)

    def items(self) -> Sequence[int]:
        """First record of each batch."""
        return range(0, len(self.records), self.batch)

    def done(self, item: int) -> bool:
        return self._part(item).is_file()

    def predict_step(self, item: int, index: int) -> None:
        records = self.records[item : item + self.batch]
        started = time.perf_counter()
        labels = self.distiller.distill(records)
        seconds = time.perf_counter() - started
        missing = {record.image_id for record in records} - {label.image_id for label in labels}
        if missing:
            raise AssertionError(f"{type(self.distiller).__name__} gave no label for {sorted(missing)[:3]}")
        rows = [[label.image_id, label.label, label.confidence, label.evidence] for label in labels]
        write_json(self._part(item), {"seconds": seconds, "labels": rows})

    def finish(self) -> None:
        parts = [json.loads(self._part(item).read_text()) for item in self.items()]
        labels = [PseudoLabel(*row) for part in parts for row in part["labels"]]
        write_labels(self.folder / "labels.csv", labels)
        truth = self.collection.truth()
        if truth:
            broader = getattr(self.distiller, "broader", _nothing_broader)
            write_json(self.folder / "metrics.json", score(labels, truth, broader))
        self._figures = self._summary(labels, sum(part["seconds"] for part in parts))

    def summary(self) -> dict[str, Any]:
        return self._figures

    def _summary(self, labels: Sequence[PseudoLabel], seconds: float) -> dict[str, Any]:
        answers = best_labels(labels)
        counts = Counter(label for label in answers.values() if label)
        figures = {
            "records": len(self.records),
            "labelled": sum(counts.values()),
            "labels": dict(counts.most_common()),
            "records_per_s": round(len(self.records) / max(seconds, 1e-9), 1),
        }
        metrics = self.folder / "metrics.json"
        if metrics.is_file():
            figures["accuracy"] = json.loads(metrics.read_text())["accuracy"]
        return figures

    def _part(self, item: int) -> Path:
        return self.parts / f"{item:08d}.json"


def _nothing_broader(label: str) -> Words[str]:
    """For distillers that know no relations between words."""
    return ()


def write_labels(path: Path, labels: Sequence[PseudoLabel]) -> None:
    """Write `labels.csv`."""
    rows = [
        {
            "image_id": label.image_id,
            "label": label.label,
            "confidence": f"{label.confidence:.4f}",
            "evidence": label.evidence,
        }
        for label in labels
    ]
    write_csv(path, FIELDS, rows)


def read_labels(path: Path) -> list[PseudoLabel]:
    """The rows of a `labels.csv`."""
    with open(path, newline="", encoding="utf-8") as stream:
        return [
            PseudoLabel(row["image_id"], row["label"], float(row["confidence"]), row["evidence"])
            for row in csv.DictReader(stream)
        ]


def labels_by_photo(path: Path, min_confidence: float = 0.0) -> dict[str, list[str]]:
    """What each photo is known by: labels of `labels.csv` at least so sure, each once; photos without any left out."""
    found: dict[str, list[str]] = {}
    for row in read_labels(path):
        known = found.setdefault(row.image_id, []) if row.label and row.confidence >= min_confidence else None
        if known is not None and row.label not in known:
            known.append(row.label)
    return found


def best_labels(labels: Sequence[PseudoLabel]) -> dict[str, str]:
    """Each photo's most confident label; of equals, the first."""
    best: dict[str, PseudoLabel] = {}
    for label in labels:
        if label.image_id not in best or label.confidence > best[label.image_id].confidence:
            best[label.image_id] = label
    return {image_id: label.label for image_id, label in best.items()}


def score(
    labels: Sequence[PseudoLabel],
    truth: Mapping[str, str],
    broader: Callable[[str], Words[str]] = _nothing_broader,
) -> dict[str, Any]:
    """How many photos with a known truth got it; "" is a truth too: "no part in particular".

    Args:
        broader: the wider words of a label. An answer that is a kind of the truth ("bell tower" where the truth is
            "tower") is right.
    Returns: `accuracy`: right answers of all; `accuracy_exact`: those that are the truth word by word. `precision`: of
    the answers that name something. `recall`: of the photos whose truth names something. None where there is nothing
    to divide by. `confusions`: wrong answers with their counts, most frequent first.
    """
    answers = best_labels(labels)
    pairs = [(wanted, answers[image_id]) for image_id, wanted in truth.items() if image_id in answers]
    right = [wanted == answer or wanted in broader(answer) for wanted, answer in pairs]
    named = [hit for hit, (_, answer) in zip(right, pairs, strict=True) if answer]
    found = [hit for hit, (wanted, _) in zip(right, pairs, strict=True) if wanted]
    wrong = Counter(pair for hit, pair in zip(right, pairs, strict=True) if not hit)
    return {
        "records": len(pairs),
        "accuracy": _share(right),
        "accuracy_exact": _share([wanted == answer for wanted, answer in pairs]),
        "precision": _share(named),
        "recall": _share(found),
        "confusions": [
            {"truth": wanted, "answer": answer, "count": count} for (wanted, answer), count in wrong.most_common()
        ],
    }


def _share(hits: Sequence[bool]) -> float | None:
    return sum(hits) / len(hits) if hits else None
