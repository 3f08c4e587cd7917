"""The part of a language-model distiller that needs no model: label hierarchy, figures, traces."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from halonerf.distillers.gazetteer.merging import Merging
from halonerf.distillers.gazetteer.vocabulary import Vocabulary
from halonerf.distillers.llm.trace import Trace

CLUSTER_ANSWERS = (
    "cluster_answers.json"  # in a run's folder, of `answer_with_ray`: "counts", and "failed" replies by key
)
FAILURE_PREFIX = "failures/"  # of the names of failure counts; the kind follows
COUNTS = (
    "records_read",
    "queries",
    "cache_hits",
    "tokens_in",
    "tokens_out",
    "unknown",
    "ungrounded",
    "dropped_instructions",
)


class Bookkeeping:
    """`LabelHierarchy`, `gather` and `figures` of a `ShardedDistiller`, for processes that load no model."""

    def __init__(self, model: str, vocabulary: str | None, same_as: str | None) -> None:
        """model: its name, for the figures. vocabulary, same_as: as of `LanguageDistiller`."""
        self.model = model
        self.vocabulary = _vocabulary(vocabulary)
        self.merging = Merging(self.vocabulary, same_as)

    def broader(self, label: str) -> frozenset[str]:
        """Labels of which `label` is a kind."""
        return self.merging.broader(label)

    def wholes(self, label: str) -> frozenset[str]:
        """Labels of which `label` is a kind or a part."""
        return self.merging.wholes(label)

    def merge_rare_labels(self, counts: Mapping[str, int], min_count: int) -> dict[str, str]:
        """Replacement of each label, where those of fewer than `min_count` records go; see `Merging`."""
        return self.merging.merge_rare_labels(counts, min_count)

    def gather(self, folder: Path) -> dict[str, float]:
        """Merge the traces of all workers in `folder`; counts that belong to none of them."""
        Trace(folder).gather()
        path = folder / CLUSTER_ANSWERS
        return json.loads(path.read_text())["counts"] if path.is_file() else {}

    def figures(self, counts: Mapping[str, float]) -> dict[str, Any]:
        """Summed counts of all instances, with rates. `query_seconds` is the time spent waiting for a model.

        Seconds of parallel workers are added, so that a rate is that of one worker.
        """
        totals = {name: int(counts.get(name, 0)) for name in (*COUNTS, *(["requests"] if "requests" in counts else []))}
        seconds, queries = counts.get("query_seconds", 0.0), totals["queries"]
        failures = {
            name.removeprefix(FAILURE_PREFIX): int(n)
            for name, n in counts.items()
            if name.startswith(FAILURE_PREFIX) and n
        }
        return {
            "model": self.model,
            **totals,
            "query_seconds": round(seconds, 3),
            "answers_per_s": round(queries / max(seconds, 1e-9), 2) if queries else None,
            "tokens_per_s": round(totals["tokens_out"] / max(seconds, 1e-9), 1) if queries else None,
            "failures": dict(sorted(failures.items(), key=lambda entry: -entry[1])),
        }


@lru_cache(maxsize=4)
def _vocabulary(path: str | None) -> Vocabulary:
    """Read once per process: it takes a quarter of a second, and nothing changes it."""
    return Vocabulary(None if path is None else Path(path).expanduser())
