"""The page by which a person judges labels: how many of each, some records of each with the words that led to it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from halonerf.types import ImageRecord, PseudoLabel
from halonerf.visualization.html_pages import Page

TEXT = 220  # characters shown of a record's text
MOST = 1_000  # different labels of which samples are kept
SHOWN = 150  # labels on the page, the most frequent ones
UNKNOWN = 6  # times as many samples of records without a label


class Sample(NamedTuple):
    """A record as the page shows it."""

    text: str
    categories: str
    label: str
    confidence: float
    evidence: str
    weak: str


class LabelSamples:
    """Some records of each label, each record as likely as any other (reservoir sampling); memory is bounded."""

    def __init__(self, count: int, chance: random.Random) -> None:
        self.count, self.chance = count, chance
        self.kept: dict[str, list[Sample]] = {}
        self._seen = Counter[str]()

    def add(self, record: ImageRecord, label: PseudoLabel, weak: Sequence[str]) -> None:
        """Perhaps keep a record with its best label and its weak ones."""
        room = self.count * (1 if label.label else UNKNOWN)
        if label.label not in self.kept and len(self.kept) >= MOST:
            return
        kept = self.kept.setdefault(label.label, [])
        self._seen[label.label] += 1
        place = len(kept) if len(kept) < room else self.chance.randrange(self._seen[label.label])
        if place < room:
            kept[place : place + 1] = [sample(record, label, weak)]


def sample(record: ImageRecord, label: PseudoLabel, weak: Sequence[str] = ()) -> Sample:
    """What the page shows of a record."""
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
        figures: the stage's summary. labels: how many records have each label for their best. metrics: as in
            `metrics.json`; only the agreement with weak labels is shown.
    """
    frequent = labels.most_common(SHOWN)
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
    """At most `TEXT` characters in one line."""
    line = " ".join(text[: 4 * TEXT].split())
    return line if len(line) <= TEXT else line[: TEXT - 1] + "…"
