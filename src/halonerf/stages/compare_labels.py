"""compare_labels: disagreements of several distillers on the same records.

disagreements.csv    `image_id`, then label, confidence and evidence of each distiller, escaped as in `labels.csv`
disagreements.html   a sample of them
metrics.json         how often each two distillers agree
"""

from __future__ import annotations

import csv
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import combinations, groupby
from typing import Any

from halonerf.config.option_types import Component, NonNegativeInt
from halonerf.data.collection import Collection
from halonerf.data.formats.names import LABELS, METRICS
from halonerf.data.labels.page import Sample, sample
from halonerf.data.labels.table import read_label_rows
from halonerf.errors import BadInput
from halonerf.factory import build
from halonerf.files import escape_cell, write_json
from halonerf.pipeline.stage import Stage
from halonerf.stages.specs import CompareLabelsSpec
from halonerf.types import ImageRecord, PseudoLabel
from halonerf.visualization.html_pages import Page

SHOWN_KINDS, MAX_KINDS = 40, 100_000  # kinds of disagreement on the page, and counted at a time


class CompareLabels(CompareLabelsSpec, Stage):
    """Compare the most confident labels of several distillers, record by record; "" is a label, too.

    Args:
        distillers: configs of label distillers by name; missing labels are made first.
        corpus: config of a corpus, as of `distill`; None: the records of the scene.
        samples: number of disagreements on the page, drawn uniformly.
    """

    def __init__(
        self,
        distillers: Mapping[str, Component],
        corpus: Component | None = None,
        samples: NonNegativeInt = 60,
    ) -> None:
        super().__init__()
        if len(distillers) < 2:
            raise BadInput(
                f"expected two or more distillers to compare, got {', '.join(distillers) or 'none'}.\nSet them with: "
                "+distiller@compare_labels.distillers.first=rules +distiller@compare_labels.distillers.second=..."
            )
        self.names, self.corpus_options, self.samples = tuple(distillers), corpus, samples

    def items(self) -> list[str]:
        return ["disagreements"]

    def done(self, item: str) -> bool:
        return (self.folder / METRICS).is_file()

    def predict_step(self, item: str, index: int) -> None:
        same = Counter[tuple[str, str]]()
        labelled = Counter[str]()
        kinds = Counter[tuple[str, ...]]()
        samples: list[tuple[Sample, list[PseudoLabel]]] = []
        records, disagreements, generator = 0, 0, random.Random(0)
        path = self.folder / "disagreements.csv"
        with open(path, "w", newline="", encoding="utf-8", errors="replace") as stream:
            writer = csv.writer(stream)
            writer.writerow(
                ["image_id", *(f"{n}_{part}" for n in self.names for part in ("label", "confidence", "evidence"))]
            )
            for record, predictions in self._best_labels():
                records += 1
                labels = [prediction.label for prediction in predictions]
                labelled.update(name for name, label in zip(self.names, labels, strict=True) if label)
                same.update(
                    (self.names[i], self.names[j])
                    for i, j in combinations(range(len(labels)), 2)
                    if labels[i] == labels[j]
                )
                if len(set(labels)) == 1:
                    continue
                disagreements += 1
                kinds[tuple(labels)] += 1
                if len(kinds) > MAX_KINDS:  # free answers: rare kinds are dropped
                    kinds = Counter(dict(kinds.most_common(MAX_KINDS // 2)))
                cells = [(escape_cell(p.label), f"{p.confidence:.4f}", escape_cell(p.evidence)) for p in predictions]
                writer.writerow([escape_cell(record.image_id), *(cell for three in cells for cell in three)])
                place = len(samples) if len(samples) < self.samples else generator.randrange(disagreements)
                if place < self.samples:
                    samples[place : place + 1] = [(sample(record, predictions[0]), predictions)]
        figures = {
            "records": records,
            "disagreements": disagreements,
            "labelled": {name: labelled[name] for name in self.names},
            "same": {
                f"{one} = {other}": same[one, other] / records if records else None
                for one, other in combinations(self.names, 2)
            },
            "kinds": [{"labels": list(labels), "count": count} for labels, count in kinds.most_common(SHOWN_KINDS)],
        }
        Page("Where the labels differ").write(
            self.folder / "disagreements.html",
            "compare_labels.html",
            names=self.names,
            figures=figures,
            samples=samples,
        )
        write_json(self.folder / METRICS, figures)

    def summary(self) -> dict[str, Any]:
        figures = json.loads((self.folder / METRICS).read_text())
        return {key: figures[key] for key in ("records", "disagreements", "labelled", "same")}

    def _best_labels(self) -> Iterator[tuple[ImageRecord, list[PseudoLabel]]]:
        """Every record with each distiller's best label; consecutive records of one id count as one."""
        if self.corpus_options:
            records: Iterator[ImageRecord] = build(self.corpus_options).records()
        else:
            records = iter(Collection.read(self.inputs["collect"]).records())
        tables = [_best(read_label_rows(self.inputs[f"{name}/distill"] / LABELS)) for name in self.names]
        firsts = (next(group) for _, group in groupby(records, lambda record: record.image_id))
        for record, *predictions in zip(firsts, *tables, strict=True):
            yield record, predictions


def _best(rows: Iterator[PseudoLabel]) -> Iterator[PseudoLabel]:
    """The most confident label of each run of rows of one photo."""
    for _, group in groupby(rows, lambda row: row.image_id):
        yield max(group, key=lambda row: row.confidence)
