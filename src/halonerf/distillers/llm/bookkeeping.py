"""What remains of a language model as a distiller without the model: the names of its labels, figures and traces."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from halonerf.distillers.gazetteer.merging import Merging
from halonerf.distillers.gazetteer.vocabulary import Vocabulary
from halonerf.distillers.llm.trace import Trace

ASKED = "asked.json"  # in a run's folder: what others asked for it; "counts" and the replies that "failed", by key
FAILURE = "failures/"  # what the counts of failures begin with; their kind follows
COUNTS = (
    "records_read",
    "asked",
    "cache_hits",
    "tokens_in",
    "tokens_out",
    "unknown",
    "ungrounded",
    "dropped_orders",
)


class Bookkeeping:
    """For whoever reads answers that were got elsewhere, and does not want to load a model for it."""

    def __init__(self, model: str, vocabulary: str | None, same_as: str | None) -> None:
        """model: what it is called. vocabulary, same_as: see `halonerf.distillers.llm.base.LanguageDistiller`."""
        self.model = model
        self.vocabulary = _vocabulary(vocabulary)
        self.merging = Merging(self.vocabulary, same_as)

    def broader(self, label: str) -> frozenset[str]:
        """All that `label` is a kind of."""
        return self.merging.wider(label)

    def wholes(self, label: str) -> frozenset[str]:
        """All that `label` is a part or a kind of."""
        return self.merging.wholes(label)

    def merge_rare_labels(self, counts: Mapping[str, int], least: int) -> dict[str, str]:
        """What each label becomes when those with fewer than `least` photos go; see `Merging.merge_rare_labels`."""
        return self.merging.merge_rare_labels(counts, least)

    def gather(self, folder: Path) -> dict[str, float]:
        """Put the traces of several workers in `folder` together, and give what was counted outside of them."""
        Trace(folder).gather()
        asked = folder / ASKED
        return json.loads(asked.read_text())["counts"] if asked.is_file() else {}

    def figures(self, counts: Mapping[str, float]) -> dict[str, Any]:
        """Counts, as all that asked gave them and summed, with their rates. Seconds are those of waiting for a model.

        Where several asked side by side, their seconds are added, and a rate is that of one of them.
        """
        whole = {name: int(counts.get(name, 0)) for name in (*COUNTS, *(["requests"] if "requests" in counts else []))}
        waited, asked = counts.get("ask_seconds", 0.0), whole["asked"]
        failures = {name.removeprefix(FAILURE): int(n) for name, n in counts.items() if name.startswith(FAILURE) and n}
        return {
            "model": self.model,
            **whole,
            "ask_seconds": round(waited, 3),
            "answers_per_s": round(asked / max(waited, 1e-9), 2) if asked else None,
            "tokens_per_s": round(whole["tokens_out"] / max(waited, 1e-9), 1) if asked else None,
            "failures": dict(sorted(failures.items(), key=lambda entry: -entry[1])),
        }


@lru_cache(maxsize=4)
def _vocabulary(path: str | None) -> Vocabulary:
    """Read once a process: it takes a quarter of a second, and nothing changes it."""
    return Vocabulary(None if path is None else Path(path).expanduser())
