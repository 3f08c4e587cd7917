"""Distill: from what people wrote about their photos to what each photo shows."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from halonerf.data.collection import Collection
from halonerf.data.formats.names import LABEL_PAGE, METRICS
from halonerf.data.labels.page import LabelSamples, write_label_page
from halonerf.data.labels.table import read_labels, table_path, write_labels
from halonerf.errors import BadInput
from halonerf.factory import build, locate
from halonerf.files import write_json
from halonerf.pipeline.stage import Stage
from halonerf.stages.distill.ray import distill_with_ray
from halonerf.stages.distill.scoring import WeakScores, nothing_broader, score
from halonerf.stages.distill.shards import LabelShards, distill_shard
from halonerf.stages.specs import DistillSpec
from halonerf.types import ImageRecord, PseudoLabel

ENGINES = ("local", "ray")
MOST_LABELS = 500  # different labels in the manifest; free answers may have very many


class Distill(DistillSpec, Stage):
    """Writes `labels.csv` (or `.parquet`), one row a label and at least one a record; `labels.html`, to judge them by.

    `metrics.json` besides, where the truth or weak labels are known. Memory does not grow with a corpus' records.

    Args:
        distiller: config of the label distiller. Where it has `broader(label)`, the label's wider words, an answer that
            is a kind of the truth counts as right; `wholes(label)` gives what it is a part of. `open(folder)` is called
            first, with a folder to keep answers in; `figures()` last, for the manifest.
        corpus: config of a corpus (`halonerf.protocols.Corpus`), under whose name the labels are then kept; None: the
            records of the scene.
        batch: records a shard of answers.
        table: "csv" or "parquet", see `halonerf.data.labels.table`.
        samples: records shown a label in `labels.html`.
        min_count: labels of fewer records are settled by the distiller's `settle(counts, least)`; 1: none.
        engine: "local", this process, or "ray": workers, see `halonerf.stages.distill.ray`. A distiller that has
            `gather(folder)` gets `open(folder, worker=name)` in each, puts together what they wrote at the end, and
            gets for its `figures` the sum of what its `counts()` grew by in each shard, earlier runs' included. Its
            class may have `bookkeeping(options)`: what knows words and figures without the model.
        workers, worker_gpus, address: of engine=ray, see there.
    """

    def __init__(
        self,
        distiller: Mapping[str, Any],
        corpus: Mapping[str, Any] | None = None,
        batch: int = 256,
        table: str = "csv",
        samples: int = 4,
        min_count: int = 1,
        engine: str = "local",
        workers: int = 0,
        worker_gpus: float = 0.0,
        address: str | None = None,
    ) -> None:
        super().__init__()
        if batch < 1 or samples < 0:
            raise BadInput(
                f"expected distill.batch of 1 or more and distill.samples of 0 or more, got {batch}, {samples}."
            )
        if engine not in ENGINES or min_count < 1 or workers < 0 or worker_gpus < 0:
            raise BadInput(
                f"expected distill.engine of {' or '.join(ENGINES)}, distill.min_count of 1 or more, distill.workers "
                f"and distill.worker_gpus of 0 or more, got '{engine}', {min_count}, {workers}, {worker_gpus}."
            )
        table_path(Path(), table)
        self.options, self.corpus_options = distiller, corpus
        self.batch, self.table, self.samples, self.min_count = batch, table, samples, min_count
        self.engine, self.workers, self.worker_gpus, self.address = engine, workers, worker_gpus, address

    def prepare(self) -> None:
        self.corpus = build(self.corpus_options) if self.corpus_options else None
        self.collection = None if self.corpus else Collection.read(self.inputs["collect"])
        self.parts = LabelShards(self.folder)
        if self.engine == "ray":
            self.count = self.parts.write_records(self.records(), self.batch)
            self.distiller = _without_model(self.options)
            self._running = self._with_ray()
        else:
            self.count = sum(1 for _ in self.records())
            self._stream, self._place = self.records(), 0
            self.distiller = build(self.options)
            if hasattr(self.distiller, "open"):
                self.distiller.open(self.folder)
        if self.min_count > 1 and not hasattr(self.distiller, "merge_rare_labels"):
            raise BadInput(
                f"expected a distiller that knows what rare labels become, got {type(self.distiller).__name__}, which "
                "has no `settle`.\nTake one that has, or set: distill.min_count=1"
            )

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
        return self.parts.done(item)

    def predict_step(self, item: int, index: int) -> None:
        if self.engine == "ray":
            next(self._running)  # whichever shard is done next
            return
        if item < self._place:
            self._stream, self._place = self.records(), 0
        records = list(islice(self._stream, item - self._place, item - self._place + self.batch))
        self._place = item + len(records)
        self.parts.write(item, distill_shard(self.distiller, records))

    def finish(self) -> None:
        if self.engine == "ray":
            self._running.close()
        self._figures: dict[str, Any] = {"records": self.count, "labelled": 0}
        self._labels = Counter[str]()
        self._samples = LabelSamples(self.samples, random.Random(0))
        self._weak: WeakScores | None = None
        broader = getattr(self.distiller, "broader", nothing_broader)
        wholes = getattr(self.distiller, "wholes", nothing_broader)
        if classes := {label for weak in self._weak_labels() for label in weak}:
            self._weak = WeakScores(classes, broader, wholes)
        settled = (
            RareLabelMerger(self._groups(), self.distiller.merge_rare_labels, self.min_count)
            if self.min_count > 1
            else None
        )
        path = table_path(self.folder, self.table)
        write_labels(path, (label for group in self._reviewed(settled) for label in group))
        metrics: dict[str, Any] | None = self._weak.result() if self._weak else None
        if self.collection and (truth := self.collection.truth()):
            metrics = score(read_labels(path), truth, broader)
            self._figures["accuracy"] = metrics["accuracy"]
        if metrics is not None:
            write_json(self.folder / METRICS, metrics)
        if self._weak and metrics:
            self._figures |= {f"micro_f1_{level}": found["micro_f1"] for level, found in metrics["any_of"].items()}
        self._figures |= {
            "labels": dict(self._labels.most_common(MOST_LABELS)),
            **({"settled": settled.figures()} if settled else {}),
            **self._told(),
        }
        self._figures["records_per_s"] = round(self.count / max(self._seconds, 1e-9), 1)  # of one worker
        name = self.corpus.name if self.corpus else self.collection.name if self.collection else ""
        write_label_page(self.folder / LABEL_PAGE, name, self._figures, self._labels, self._samples, metrics)
        self.parts.forget_records()

    def summary(self) -> dict[str, Any]:
        return self._figures

    def _with_ray(self) -> Generator[int, None, None]:
        left = [item for item in self.items() if not self.done(item)]
        return distill_with_ray(self.options, self.folder, left, self.workers, self.worker_gpus, self.address)

    def _told(self) -> dict[str, Any]:
        """The distiller's own figures, over all shards."""
        if not hasattr(self.distiller, "gather"):
            return self.distiller.figures() if hasattr(self.distiller, "figures") else {}
        elsewhere = self.distiller.gather(self.folder)
        self._counts.update(elsewhere)
        self._seconds += elsewhere.get("ask_seconds", 0.0)
        return self.distiller.figures(self._counts)

    def _reviewed(self, settled: RareLabelMerger | None) -> Iterator[list[PseudoLabel]]:
        """Every record's labels, counted, scored and sampled on their way."""
        for record, weak, group in zip(self.records(), self._weak_or_none(), self._groups(), strict=True):
            labels = settled(group) if settled else group
            best = max(labels, key=lambda label: label.confidence)
            self._figures["labelled"] += bool(best.label)
            if best.label:
                self._labels[best.label] += 1
            self._samples.add(record, best, weak)
            if self._weak:
                self._weak.add(labels, weak)
            yield labels

    def _groups(self) -> Iterator[list[PseudoLabel]]:
        """The labels of each record, from the shards; on the way, what they took is summed."""
        self._seconds, self._counts = 0.0, Counter[str]()
        for item in self.items():
            part = self.parts.read(item)
            self._seconds += part.seconds
            self._counts.update(part.counts)
            yield from part.groups

    def _weak_labels(self) -> Iterator[tuple[str, ...]]:
        if self.corpus and hasattr(self.corpus, "weak_labels"):
            yield from self.corpus.weak_labels()

    def _weak_or_none(self) -> Iterator[tuple[str, ...]]:
        """Weak labels a record, none where the corpus has none."""
        return self._weak_labels() if self._weak else (() for _ in range(self.count))


def _without_model(config: Mapping[str, Any]) -> Any:
    """What a distiller knows of words and figures; the distiller itself, where it has no lighter part for that."""
    kind = locate(config["_target_"])
    if not hasattr(kind, "bookkeeping"):
        return build(config)
    return kind.bookkeeping({key: value for key, value in config.items() if key != "_target_"})


Settle = Callable[[Mapping[str, int], int], Mapping[str, str]]


class RareLabelMerger:
    """What the labels of all records become when those of fewer than `least` records go.

    Args:
        groups: the labels of every record.
        settle: from the records of each label, and `least`, to what each label becomes; "" for nothing.
    """

    def __init__(self, groups: Iterable[Sequence[PseudoLabel]], settle: Settle, least: int) -> None:
        counts = Counter(label for group in groups for label in {row.label for row in group if row.label})
        self.becomes = settle(counts, least)
        self.gone = {label: count for label, count in counts.items() if self.becomes[label] != label}
        self.broader = self.unknown = 0

    def __call__(self, labels: Sequence[PseudoLabel]) -> list[PseudoLabel]:
        """The labels of one record, best first as before; those that become the same are one, the most certain."""
        kept: dict[str, PseudoLabel] = {}
        for label in labels:
            name = self.becomes[label.label] if label.label else ""
            if name:
                kept.setdefault(name, label if name == label.label else replace(label, label=name))
            self.broader += bool(name) and name != label.label
        known = any(label.label for label in labels)
        self.unknown += known and not kept
        return list(kept.values()) or [PseudoLabel(labels[0].image_id, "")]

    def figures(self) -> dict[str, int]:
        """`labels` that went, their `rows`, those of them that became `broader`, records left `unknown`."""
        rows = sum(self.gone.values())
        return {"labels": len(self.gone), "rows": rows, "broader": self.broader, "unknown": self.unknown}
