"""distill: pseudo-labels of photos from their metadata.

labels.csv (or .parquet)   one row per label, at least one per record
labels.html                samples of records with their labels, for inspection
metrics.json               scores, where ground truth or weak labels exist
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from halonerf.config.option_types import Component, NonNegativeFloat, NonNegativeInt, PositiveInt
from halonerf.data.collection import Collection
from halonerf.data.formats.names import LABEL_PAGE, METRICS
from halonerf.data.labels.page import LabelSamples, write_label_page
from halonerf.data.labels.table import read_labels, table_path, write_labels
from halonerf.errors import BadInput
from halonerf.factory import build, locate
from halonerf.files import write_json
from halonerf.pipeline.stage import Stage
from halonerf.protocols import DistillerBookkeeping, LabelHierarchy, LabelledCorpus, ShardedDistiller
from halonerf.stages.distill.ray import distill_with_ray
from halonerf.stages.distill.scoring import WeakScores, no_relation, score
from halonerf.stages.distill.shards import LabelShards, distill_shard
from halonerf.stages.specs import DistillSpec
from halonerf.types import ImageRecord, PseudoLabel

MAX_MANIFEST_LABELS = 500  # distinct labels in the manifest; free answers may have very many


class Distill(DistillSpec, Stage):
    """Predict pseudo-labels of a scene's or a corpus' records. Memory does not grow with the number of records.

    Args:
        distiller: config of the label distiller. With a `LabelHierarchy`, a prediction that is a kind of the truth
            counts as correct. A `ShardedDistiller` keeps its files in the stage's folder; its `figures` go into the
            manifest, summed over all shards, those of earlier runs included.
        corpus: config of a corpus (`halonerf.protocols.Corpus`), under whose name the labels are then kept; None: the
            records of the scene.
        batch: records per shard.
        table: "csv" or "parquet", see `halonerf.data.labels.table`.
        samples: records shown per label in `labels.html`.
        min_count: labels of fewer records are replaced by broader ones (`merge_rare_labels`); 1: none.
        engine: "local", this process, or "ray": workers, see `halonerf.stages.distill.ray`.
        workers, worker_gpus, address: of engine=ray, see `distill_with_ray`.
    """

    def __init__(
        self,
        distiller: Component,
        corpus: Component | None = None,
        batch: PositiveInt = 256,
        table: Literal["csv", "parquet"] = "csv",
        samples: NonNegativeInt = 4,
        min_count: PositiveInt = 1,
        engine: Literal["local", "ray"] = "local",
        workers: NonNegativeInt = 0,
        worker_gpus: NonNegativeFloat = 0.0,
        address: str | None = None,
    ) -> None:
        super().__init__()
        table_path(Path(), table)
        self.options, self.corpus_options = distiller, corpus
        self.batch, self.table, self.samples, self.min_count = batch, table, samples, min_count
        self.engine, self.workers, self.worker_gpus, self.address = engine, workers, worker_gpus, address

    def prepare(self) -> None:
        self.corpus = build(self.corpus_options) if self.corpus_options else None
        self.collection = None if self.corpus else Collection.read(self.inputs["collect"])
        self.shards = LabelShards(self.folder)
        if self.engine == "ray":
            self.count = self.shards.write_records(self.records(), self.batch)
            self.distiller = _bookkeeping(self.options)
            self._running = self._with_ray()
        else:
            self.count = sum(1 for _ in self.records())
            self._stream, self._place = self.records(), 0
            self.distiller = build(self.options)
            if isinstance(self.distiller, ShardedDistiller):
                self.distiller.open(self.folder)
        if self.min_count > 1 and not isinstance(self.distiller, LabelHierarchy):
            raise BadInput(
                f"expected a distiller that can merge rare labels, got {type(self.distiller).__name__}, which has no "
                "`merge_rare_labels`.\nUse one that has, such as distiller=rules, or set: distill.min_count=1"
            )

    def records(self) -> Iterator[ImageRecord]:
        """All records in their order."""
        if self.corpus:
            yield from self.corpus.records()
        elif self.collection:
            yield from self.collection.records()

    def items(self) -> Sequence[int]:
        """Index of the first record of each shard."""
        return range(0, self.count, self.batch)

    def done(self, item: int) -> bool:
        return self.shards.done(item)

    def predict_step(self, item: int, index: int) -> None:
        if self.engine == "ray":
            next(self._running)  # whichever shard is done next
            return
        if item < self._place:
            self._stream, self._place = self.records(), 0
        records = list(islice(self._stream, item - self._place, item - self._place + self.batch))
        self._place = item + len(records)
        self.shards.write(item, distill_shard(self.distiller, records))

    def finish(self) -> None:
        if self.engine == "ray":
            self._running.close()
        self._figures: dict[str, Any] = {"records": self.count, "labelled": 0}
        self._labels = Counter[str]()
        self._samples = LabelSamples(self.samples, random.Random(0))
        self._weak: WeakScores | None = None
        known = isinstance(self.distiller, LabelHierarchy)
        broader, wholes = (self.distiller.broader, self.distiller.wholes) if known else (no_relation, no_relation)
        if classes := {label for weak in self._weak_labels() for label in weak}:
            self._weak = WeakScores(classes, broader, wholes)
        merger = (
            RareLabelMerger(self._groups(), self.distiller.merge_rare_labels, self.min_count)
            if self.min_count > 1
            else None
        )
        path = table_path(self.folder, self.table)
        write_labels(path, (label for group in self._scored_groups(merger) for label in group))
        metrics: dict[str, Any] | None = self._weak.result() if self._weak else None
        if self.collection and (truth := self.collection.truth()):
            metrics = score(read_labels(path), truth, broader)
            self._figures["accuracy"] = metrics["accuracy"]
        if metrics is not None:
            write_json(self.folder / METRICS, metrics)
        if self._weak and metrics:
            self._figures |= {f"micro_f1_{level}": found["micro_f1"] for level, found in metrics["any_of"].items()}
        self._figures |= {
            "labels": dict(self._labels.most_common(MAX_MANIFEST_LABELS)),
            **({"merged": merger.figures()} if merger else {}),
            **self._distiller_figures(),
        }
        self._figures["records_per_s"] = round(self.count / max(self._seconds, 1e-9), 1)  # of one worker
        name = self.corpus.name if self.corpus else self.collection.name if self.collection else ""
        write_label_page(self.folder / LABEL_PAGE, name, self._figures, self._labels, self._samples, metrics)
        self.shards.delete_records()

    def summary(self) -> dict[str, Any]:
        return self._figures

    def _with_ray(self) -> Generator[int, None, None]:
        left = [item for item in self.items() if not self.done(item)]
        return distill_with_ray(self.options, self.folder, left, self.workers, self.worker_gpus, self.address)

    def _distiller_figures(self) -> dict[str, Any]:
        """Figures of a `ShardedDistiller` over all shards."""
        if not isinstance(self.distiller, DistillerBookkeeping):
            return {}
        additional = self.distiller.gather(self.folder)
        self._counts.update(additional)
        self._seconds += additional.get("query_seconds", 0.0)
        return self.distiller.figures(self._counts)

    def _scored_groups(self, merger: RareLabelMerger | None) -> Iterator[list[PseudoLabel]]:
        """Labels of each record, counted, scored and sampled in passing."""
        for record, weak, group in zip(self.records(), self._weak_or_none(), self._groups(), strict=True):
            labels = merger(group) if merger else group
            best = max(labels, key=lambda label: label.confidence)
            self._figures["labelled"] += bool(best.label)
            if best.label:
                self._labels[best.label] += 1
            self._samples.add(record, best, weak)
            if self._weak:
                self._weak.add(labels, weak)
            yield labels

    def _groups(self) -> Iterator[list[PseudoLabel]]:
        """Labels of each record from the shards; sums their seconds and counts in passing."""
        self._seconds, self._counts = 0.0, Counter[str]()
        for item in self.items():
            shard = self.shards.read(item)
            self._seconds += shard.seconds
            self._counts.update(shard.counts)
            yield from shard.groups

    def _weak_labels(self) -> Iterator[tuple[str, ...]]:
        if isinstance(self.corpus, LabelledCorpus):
            yield from self.corpus.weak_labels()

    def _weak_or_none(self) -> Iterator[tuple[str, ...]]:
        """Weak labels of each record; empty ones where the corpus has none."""
        return self._weak_labels() if self._weak else (() for _ in range(self.count))


def _bookkeeping(config: Mapping[str, Any]) -> Any:
    """The part of a `ShardedDistiller` that needs no model; any other distiller itself."""
    kind = locate(config["_target_"])
    if not (isinstance(kind, type) and issubclass(kind, ShardedDistiller)):
        return build(config)
    return kind.bookkeeping({key: value for key, value in config.items() if key != "_target_"})


MergeRareLabels = Callable[[Mapping[str, int], int], Mapping[str, str]]


class RareLabelMerger:
    """Replaces labels of fewer than `min_count` records by broader ones.

    Args:
        groups: labels of every record.
        merge: `LabelHierarchy.merge_rare_labels`.
    """

    def __init__(self, groups: Iterable[Sequence[PseudoLabel]], merge: MergeRareLabels, min_count: int) -> None:
        counts = Counter(label for group in groups for label in {row.label for row in group if row.label})
        self.replacement = merge(counts, min_count)
        self.merged = {label: count for label, count in counts.items() if self.replacement[label] != label}
        self.broader = self.unknown = 0

    def __call__(self, labels: Sequence[PseudoLabel]) -> list[PseudoLabel]:
        """The labels of one record after replacement, in their order; of equal ones the most confident is kept."""
        kept: dict[str, PseudoLabel] = {}
        for label in labels:
            name = self.replacement[label.label] if label.label else ""
            if name:
                kept.setdefault(name, label if name == label.label else replace(label, label=name))
            self.broader += bool(name) and name != label.label
        known = any(label.label for label in labels)
        self.unknown += known and not kept
        return list(kept.values()) or [PseudoLabel(labels[0].image_id, "")]

    def figures(self) -> dict[str, int]:
        """Numbers of merged `labels`, their `rows`, rows that became `broader`, records that became `unknown`."""
        rows = sum(self.merged.values())
        return {"labels": len(self.merged), "rows": rows, "broader": self.broader, "unknown": self.unknown}
