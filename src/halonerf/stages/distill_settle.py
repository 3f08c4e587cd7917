"""Rare labels: what too few photos show becomes part of a broader label, or unknown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from halonerf.types import PseudoLabel

Settle = Callable[[Mapping[str, int], int], Mapping[str, str]]


class Settled:
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
