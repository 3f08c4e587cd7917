"""Distill: from what people wrote about their photos to what each photo shows."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from halonerf.artifacts import write_atomic, write_json
from halonerf.data.collection import Collection
from halonerf.errors import BadInput
from halonerf.stages.base import Stage
from halonerf.stages.build import build
from halonerf.stages.distill_page import LabelSamples, write_label_page
from halonerf.stages.distill_scores import WeakScores, nothing_broader, score
from halonerf.stages.distill_table import read_labels, table_path, write_labels
from halonerf.types import ImageRecord, PseudoLabel

MOST_LABELS = 500  # different labels in the manifest; free answers may have very many


class Distill(Stage):
    """Writes `labels.csv` (or `.parquet`), one row a label and at least one a record; `labels.html`, to judge them by.

    `metrics.json` besides, where the truth or weak labels are known. Memory does not grow with a corpus' records.

    Args:
        distiller: config of the label distiller. Where it has `broader(label)`, the label's wider words, an answer that
            is a kind of the truth counts as right; `wholes(label)` gives what it is a part of. `open(folder)` is called
            first, with a folder to keep answers in; `figures()` last, for the manifest.
        corpus: config of a corpus (`halonerf.protocols.Corpus`), under whose name the labels are then kept; None: the
            records of the scene.
        batch: records a shard of answers.
        table: "csv" or "parquet", see `halonerf.stages.distill_table`.
        samples: records shown a label in `labels.html`.
    """

    name: ClassVar[str] = "distill"
    version: ClassVar[int] = 2
    needs: ClassVar[tuple[str, ...]] = ("collect",)

    def __init__(
        self,
        distiller: Mapping[str, Any],
        corpus: Mapping[str, Any] | None = None,
        batch: int = 256,
        table: str = "csv",
        samples: int = 4,
    ) -> None:
        super().__init__()
        if batch < 1 or samples < 0:
            raise BadInput(
                f"expected distill.batch of 1 or more and distill.samples of 0 or more, got {batch}, {samples}."
            )
        table_path(Path(), table)
        self.options, self.corpus_options = distiller, corpus
        self.batch, self.table, self.samples = batch, table, samples

    @classmethod
    def requires(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        return () if config.get("corpus") else cls.needs

    @classmethod
    def kept_under(cls, config: Mapping[str, Any]) -> str | None:
        return str(build(config["corpus"]).name) if config.get("corpus") else None

    def prepare(self) -> None:
        self.corpus = build(self.corpus_options) if self.corpus_options else None
        self.collection = None if self.corpus else Collection.read(self.inputs["collect"])
        self.count = sum(1 for _ in self.records())
        self._stream, self._place = self.records(), 0
        self.distiller = build(self.options)
        self.parts = self.folder / "parts"
        self.parts.mkdir(exist_ok=True)
        if hasattr(self.distiller, "open"):
            self.distiller.open(self.folder)

    def records(self) -> Iterator[ImageRecord]:
        """Every record, from the first."""
        if self.corpus:
            yield from self.corpus.records()
        elif self.collection:
            yield from self.collection.records()

    def items(self) -> Sequence[int]:
        """First record of each batch."""
        return range(0, self.count, self.batch)

    def done(self, item: int) -> bool:
        return self._part(item).is_file()

    def predict_step(self, item: int, index: int) -> None:
        if item < self._place:
            self._stream, self._place = self.records(), 0
        records = list(islice(self._stream, item - self._place, item - self._place + self.batch))
        self._place = item + len(records)
        started = time.perf_counter()
        labels = self.distiller.distill(records)
        seconds = time.perf_counter() - started
        rows = [
            [[label.image_id, label.label, label.confidence, label.evidence] for label in group]
            for group in by_record(records, labels, type(self.distiller).__name__)
        ]
        write_atomic(self._part(item), json.dumps({"seconds": seconds, "labels": rows}))

    def finish(self) -> None:
        self._figures: dict[str, Any] = {"records": self.count, "labelled": 0}
        self._seconds, self._labels = 0.0, Counter[str]()
        self._samples = LabelSamples(self.samples, random.Random(0))
        self._weak: WeakScores | None = None
        broader = getattr(self.distiller, "broader", nothing_broader)
        wholes = getattr(self.distiller, "wholes", nothing_broader)
        if classes := {label for weak in self._weak_labels() for label in weak}:
            self._weak = WeakScores(classes, broader, wholes)
        path = table_path(self.folder, self.table)
        write_labels(path, (label for group in self._reviewed() for label in group))
        metrics: dict[str, Any] | None = self._weak.result() if self._weak else None
        if self.collection and (truth := self.collection.truth()):
            metrics = score(read_labels(path), truth, broader)
            self._figures["accuracy"] = metrics["accuracy"]
        if metrics is not None:
            write_json(self.folder / "metrics.json", metrics)
        if self._weak and metrics:
            self._figures |= {f"micro_f1_{level}": found["micro_f1"] for level, found in metrics["any_of"].items()}
        self._figures |= {
            "labels": dict(self._labels.most_common(MOST_LABELS)),
            "records_per_s": round(self.count / max(self._seconds, 1e-9), 1),
            **(self.distiller.figures() if hasattr(self.distiller, "figures") else {}),
        }
        name = self.corpus.name if self.corpus else self.collection.name if self.collection else ""
        write_label_page(self.folder / "labels.html", name, self._figures, self._labels, self._samples, metrics)

    def summary(self) -> dict[str, Any]:
        return self._figures

    def _reviewed(self) -> Iterator[list[PseudoLabel]]:
        """Every record's labels, counted, scored and sampled on their way."""
        for record, weak, labels in zip(self.records(), self._weak_or_none(), self._groups(), strict=True):
            best = max(labels, key=lambda label: label.confidence)
            self._figures["labelled"] += bool(best.label)
            if best.label:
                self._labels[best.label] += 1
            self._samples.add(record, best, weak)
            if self._weak:
                self._weak.add(labels, weak)
            yield labels

    def _groups(self) -> Iterator[list[PseudoLabel]]:
        """The labels of each record, from the shards."""
        for item in self.items():
            part = json.loads(self._part(item).read_text())
            self._seconds += part["seconds"]
            for group in part["labels"]:
                yield [PseudoLabel(*row) for row in group]

    def _weak_labels(self) -> Iterator[tuple[str, ...]]:
        if self.corpus and hasattr(self.corpus, "weak_labels"):
            yield from self.corpus.weak_labels()

    def _weak_or_none(self) -> Iterator[tuple[str, ...]]:
        """Weak labels a record, none where the corpus has none."""
        return self._weak_labels() if self._weak else (() for _ in range(self.count))

    def _part(self, item: int) -> Path:
        return self.parts / f"{item:08d}.json"


def by_record(records: Sequence[ImageRecord], labels: Sequence[PseudoLabel], who: str) -> list[list[PseudoLabel]]:
    """The labels of each record, at least one, from a list in the records' order.

    Raises: AssertionError where the distiller `who` broke its contract.
    """
    groups: list[list[PseudoLabel]] = []
    place = 0
    for index, record in enumerate(records):
        later = len(records) - index - 1  # records that need a label each; two records may have one id
        start = place
        while place < len(labels) - later and labels[place].image_id == record.image_id:
            place += 1
        if start == place:
            raise AssertionError(f"{who} gave no label for {record.image_id!r}, or not in the records' order")
        groups.append(list(labels[start:place]))
    if place < len(labels):
        raise AssertionError(f"{who} gave labels for {labels[place].image_id!r}, which was not asked for there")
    return groups
