"""The page `labels.html` for inspecting labels: frequencies, and sample records of each label with their evidence."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from halonerf.types import ImageRecord, PseudoLabel
from halonerf.visualization.html_pages import Page

MAX_TEXT_CHARS = 220  # shown of a record's text
MAX_SAMPLED_LABELS = 1_000  # different labels of which samples are kept
MAX_SHOWN_LABELS = 150  # on the page, the most frequent ones
UNLABELLED_FACTOR = 6  # so many times as many samples of records without a label


class Sample(NamedTuple):
    """A record on the page."""

    text: str
    categories: str
    label: str
    confidence: float
    evidence: str
    weak: str


class LabelSamples:
    """Random records of each label, uniform by reservoir sampling; memory is bounded."""

    def __init__(self, count: int, generator: random.Random) -> None:
        self.count, self.generator = count, generator
        self.kept: dict[str, list[Sample]] = {}
        self._seen = Counter[str]()

    def add(self, record: ImageRecord, label: PseudoLabel, weak: Sequence[str]) -> None:
        """Offer a record with its best label and its weak labels as a sample."""
        room = self.count * (1 if label.label else UNLABELLED_FACTOR)
        if label.label not in self.kept and len(self.kept) >= MAX_SAMPLED_LABELS:
            return
        kept = self.kept.setdefault(label.label, [])
        self._seen[label.label] += 1
        place = len(kept) if len(kept) < room else self.generator.randrange(self._seen[label.label])
        if place < room:
            kept[place : place + 1] = [sample(record, label, weak)]


def sample(record: ImageRecord, label: PseudoLabel, weak: Sequence[str] = ()) -> Sample:
    """A record, its best label and its weak labels as the page shows them."""
    text = shortened(record.caption or record.filename or record.image_id)
    return Sample(
        text,
        shortened(" › ".join(record.categories[-3:])),
        label.label,
        label.confidence,
        label.evidence,
        ", ".join(weak),
    )


def write_label_page(
    path: Path,
    name: str,
    figures: Mapping[str, Any],
    labels: Counter[str],
    samples: LabelSamples,
    metrics: Mapping[str, Any] | None,
) -> None:
    """Write `labels.html`.

    Args:
        figures: the stage's summary. labels: number of records by best label. metrics: those of `metrics.json`; only
            the agreement with weak labels is shown.
    """
    frequent = labels.most_common(MAX_SHOWN_LABELS)
    Page(f"Labels of {name}").write(
        path,
        "distill.html",
        figures=figures,
        histogram=[(label, count, count / frequent[0][1]) for label, count in frequent],
        others=len(labels) - len(frequent),
        samples=[(label, samples.kept.get(label, [])) for label, _ in frequent],
        unknown=samples.kept.get("", []),
        weak=metrics if metrics and "any_of" in metrics else None,
    )


def shortened(text: str) -> str:
    """Text in one line, cut after `MAX_TEXT_CHARS` characters."""
    line = " ".join(text[: 4 * MAX_TEXT_CHARS].split())
    return line if len(line) <= MAX_TEXT_CHARS else line[: MAX_TEXT_CHARS - 1] + "…"
