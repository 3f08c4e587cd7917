"""What all language models share as distillers: prompt, cache, reading of answers, evidence, trace and figures."""

from __future__ import annotations

import inspect
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

from halonerf.distillers.llm.answer_cache import AnswerCache, Reply, key_of
from halonerf.distillers.llm.answers import Answer, Claim, parse_json, parse_paper, parse_plain, schema
from halonerf.distillers.llm.bookkeeping import FAILURE, Bookkeeping
from halonerf.distillers.llm.grounding import ground_claim
from halonerf.distillers.llm.prompts import Fields, Messages, Prompt
from halonerf.distillers.llm.trace import Trace
from halonerf.errors import BadInput
from halonerf.types import ImageRecord, PseudoLabel

FORMS = ("json", "plain", "paper")


class LanguageDistiller(Bookkeeping, ABC):
    """A `LabelDistiller` that asks a language model; a child says how (`ask`).

    Args:
        model: what the model is called; with the sampling and the prompt it names an answer in the cache.
        sampling: all that changes what the model says.
        prompt: see `halonerf.distillers.llm.prompts.Prompt`.
        answers: "json": by the schema of `halonerf.distillers.llm.answers.schema`; "plain": words; "paper": words, cleaned
            as the paper cleans them and not merged into the vocabulary.
        labels: at most so many a record. closed: only the vocabulary's labels are offered and kept.
        vocabulary: a YAML file laid out as this package's own; None takes that one. same_as: see `Merging`.
        ungrounded: in [0, 1], what the confidence of an answer is multiplied by that the record does not support. Such
            an answer from a record that gives orders is dropped, unless this is 1.
        least: a label of less confidence is not given.
        characters: of each field that the model is shown.
        cache: folder of answers that runs share; None: each run keeps its own.
    """

    runtime_options: ClassVar[tuple[str, ...]] = ("cache",)
    data_options: ClassVar[tuple[str, ...]] = ("prompt", "vocabulary", "same_as")

    def __init__(
        self,
        model: str,
        sampling: Mapping[str, Any],
        prompt: str,
        answers: str,
        labels: int,
        closed: bool,
        vocabulary: str | None,
        same_as: str | None,
        ungrounded: float,
        least: float,
        characters: int,
        cache: str | None,
    ) -> None:
        if answers not in FORMS:
            raise BadInput(f"expected answers to be one of {', '.join(FORMS)}, got '{answers}'.")
        if not (0.0 <= ungrounded <= 1.0 and 0.0 <= least <= 1.0):
            raise BadInput(f"expected ungrounded and least in [0, 1], got {ungrounded} and {least}.")
        if labels < 1:
            raise BadInput(f"expected labels of at least 1 a record, got {labels}.")
        if answers == "paper" and (closed or labels > 1):
            raise BadInput("answers=paper has one label a record in the model's own words: set labels=1 closed=false.")
        super().__init__(model, vocabulary, same_as)
        self.answers, self.labels, self.closed = answers, labels, closed
        self.ungrounded, self.least = ungrounded, least
        concepts = self.vocabulary.concepts if closed else ()
        self.prompt = Prompt(prompt, characters, labels, concepts)
        self.schema = schema(labels, concepts) if answers == "json" else None
        self.sampling = {**sampling, "schema": self.schema}
        self.cache = AnswerCache(Path(cache).expanduser() if cache else None)
        self._shared = cache is not None
        self._trace: Trace | None = None
        self._counts: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._seconds = 0.0

    @abstractmethod
    def ask(self, prompts: Sequence[Messages]) -> Iterator[tuple[int, Reply]]:
        """A reply to each prompt with its place in `prompts`, in any order, as they come."""

    @classmethod
    def bookkeeping(cls, options: Mapping[str, Any]) -> Bookkeeping:
        """What an object of this class with these options knows without its model."""
        defaults = {name: given.default for name, given in inspect.signature(cls).parameters.items()}
        chosen = {**defaults, **options}
        model = str(chosen.get("model", chosen.get("weights", cls.__name__)))
        return Bookkeeping(model, chosen.get("vocabulary"), chosen.get("same_as"))

    def open(self, folder: Path, worker: str = "") -> None:
        """Keep the trace, and the cache unless runs share one, in `folder`; what is there is not asked again.

        worker: name of this object where others work in the same folder; `gather` then puts the traces together.
        """
        self._trace = Trace(folder, worker)
        if not self._shared:
            self.cache.close()
            self.cache = AnswerCache(folder)

    def distill(self, records: Sequence[ImageRecord]) -> list[PseudoLabel]:
        """The labels of each record, best first; one empty label where the model does not know, or failed."""
        fields, prompts, keys = self.prompted(records)
        known = self.cache.get(dict.fromkeys(keys))
        missing = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in known}
        self._counts["records_read"] += len(records)
        self._counts["cache_hits"] += sum(key in known for key in keys)
        places: dict[str, list[int]] = {}
        for place, key in enumerate(keys):
            places.setdefault(key, []).append(place)
        given: list[list[PseudoLabel]] = [[] for _ in records]
        lines: list[dict[str, Any]] = [{} for _ in records]
        for key, reply in chain(known.items(), self._asked(missing)):  # read while the next ones are on their way
            for place in places[key]:
                given[place], line = self._read(records[place], fields[place], reply)
                lines[place] = {**line, "prompt": key, "cached": key in known}
        if self._trace:
            self._trace.add(lines)
        return [label for labels in given for label in labels]

    def prompted(self, records: Sequence[ImageRecord]) -> tuple[list[Fields], list[Messages], list[str]]:
        """For each record what is shown of it, its prompt, and the key under which the answer is kept."""
        fields = [self.prompt.fields(record) for record in records]
        prompts = [self.prompt.render(shown) for shown in fields]
        return fields, prompts, self.keys(prompts)

    def keys(self, prompts: Sequence[Messages]) -> list[str]:
        """The key of each prompt's answer in the cache."""
        return [key_of(prompt, self.model, self.sampling) for prompt in prompts]

    def counts(self) -> dict[str, float]:
        """What has been counted since this object was made: those of several objects, or moments, can be added."""
        failures = {FAILURE + kind: count for kind, count in self._failures.items()}
        return {**self._counts, "ask_seconds": self._seconds, **failures}

    def figures(self, counts: Mapping[str, float] | None = None) -> dict[str, Any]:
        """Counts and rates; of this object, unless others' `counts` are given."""
        return super().figures(self.counts() if counts is None else counts)

    def _asked(self, prompts: Mapping[str, Messages]) -> Iterator[tuple[str, Reply]]:
        """Replies of the model by key; each is in the cache as soon as it comes, also when the next one raises."""
        keys = list(prompts)
        started = time.perf_counter()
        try:
            for place, reply in self.ask(list(prompts.values())) if keys else ():
                self.cache.put(keys[place], reply)
                self._counts["asked"] += 1
                self._counts["tokens_in"] += reply.tokens_in
                self._counts["tokens_out"] += reply.tokens_out
                yield keys[place], reply
        finally:
            self.cache.commit()
            self._seconds += time.perf_counter() - started

    def _read(self, record: ImageRecord, fields: Fields, reply: Reply) -> tuple[list[PseudoLabel], dict[str, Any]]:
        """The labels of a reply, and its line of the trace."""
        answer = self._parsed(reply)
        failure = reply.failure or answer.failure
        chosen: dict[str, PseudoLabel] = {}
        decisions = []
        for claim in answer.claims:
            label, decision = self._judged(record, claim, fields)
            decisions.append({"said": claim.label, "quoted": claim.evidence, "label": label.label, **decision})
            if label.label and label.label not in chosen:
                chosen[label.label] = label
        ranked = sorted(chosen.values(), key=lambda label: -label.confidence)
        kept = [a for a in ranked if not any(a.label in self.merging.wholes(b.label) for b in ranked)] or ranked
        labels = kept[: self.labels] or [PseudoLabel(record.image_id, "")]
        self._failures.update([failure] if failure else [])
        self._counts["unknown"] += not labels[0].label
        line = {
            "image_id": record.image_id,
            "model": self.model,
            "answer": reply.text,
            "labels": [label.label for label in labels if label.label],
            "language": answer.language,
            "claims": decisions,
            "failure": failure,
        }
        return labels, line

    def _parsed(self, reply: Reply) -> Answer:
        if reply.failure and not reply.text:
            return Answer(failure=reply.failure)
        if self.answers == "json":
            return parse_json(reply.text, self.labels)
        if self.answers == "paper":
            return parse_paper(reply.text, reply.confidence)
        return parse_plain(reply.text, self.labels, reply.confidence)

    def _judged(self, record: ImageRecord, claim: Claim, fields: Fields) -> tuple[PseudoLabel, dict[str, Any]]:
        """A claim as a label, empty if it is not to be believed, and why."""
        concept = self.merging.canonical(claim.label)
        name = claim.label if self.answers == "paper" else concept
        found = ground_claim(claim, concept, fields, self.vocabulary)
        confidence = claim.confidence * (1.0 if found.grounded else self.ungrounded)
        dropped = ""
        if not name or (self.closed and name not in self.vocabulary.wider):
            dropped = "not in the vocabulary" if name else "a direction only"
        elif found.ordered and not found.grounded and self.ungrounded < 1.0:
            dropped = "the record gives orders"
            self._counts["dropped_orders"] += 1
        elif confidence < self.least or round(confidence, 4) <= 0.0:
            dropped = "too uncertain"
        self._counts["ungrounded"] += not found.grounded
        label = PseudoLabel(record.image_id, name, round(confidence, 4), found.evidence)
        decision = {"grounded": found.grounded, "evidence": found.evidence, "dropped": dropped}
        return (PseudoLabel(record.image_id, "") if dropped else label), decision
