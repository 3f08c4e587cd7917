"""Base class of language-model distillers: prompts, cache, parsing of answers, grounding, trace and figures."""

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
from halonerf.distillers.llm.bookkeeping import FAILURE_PREFIX, Bookkeeping
from halonerf.distillers.llm.grounding import ground_claim
from halonerf.distillers.llm.prompts import Fields, Messages, Prompt
from halonerf.distillers.llm.trace import Trace
from halonerf.errors import BadInput
from halonerf.types import ImageRecord, PseudoLabel


class LanguageDistiller(Bookkeeping, ABC):
    """A `ShardedDistiller` that queries a language model; subclasses implement `query`.

    Args:
        model: the model's name; with sampling and prompt it is the key of a reply in the cache.
        sampling: all options that change the model's output.
        prompt: see `halonerf.distillers.llm.prompts.Prompt`.
        answers: "json": by the schema of `halonerf.distillers.llm.answers.schema`; "plain": words; "paper": words,
            cleaned as in HaLo-NeRF and not merged into the vocabulary.
        labels: maximum number per record. closed: only the vocabulary's labels are offered and kept.
        vocabulary: a YAML file in the layout of the package's own; None: that one. same_as: see `Merging`.
        ungrounded: in [0, 1], factor on the confidence of an answer that the record does not support. Such an answer
            from a record that contains instructions is dropped, unless the factor is 1.
        min_confidence: in [0, 1]; labels of lower confidence are dropped.
        characters: maximum length of each field in the prompt.
        cache: folder of replies shared by runs; None: each run keeps its own.
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
        min_confidence: float,
        characters: int,
        cache: str | None,
    ) -> None:
        if answers == "paper" and (closed or labels > 1):
            raise BadInput("answers=paper gives one label per record in the model's words: set labels=1 closed=false.")
        super().__init__(model, vocabulary, same_as)
        self.answers, self.labels, self.closed = answers, labels, closed
        self.ungrounded, self.min_confidence = ungrounded, min_confidence
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
    def query(self, prompts: Sequence[Messages]) -> Iterator[tuple[int, Reply]]:
        """Replies with their index in `prompts`, in order of arrival."""

    @classmethod
    def bookkeeping(cls, options: Mapping[str, Any]) -> Bookkeeping:
        """The part of an instance with these `options` that needs no model."""
        defaults = {name: given.default for name, given in inspect.signature(cls).parameters.items()}
        chosen = {**defaults, **options}
        model = str(chosen.get("model", chosen.get("weights", cls.__name__)))
        return Bookkeeping(model, chosen.get("vocabulary"), chosen.get("same_as"))

    def open(self, folder: Path, worker: str = "") -> None:
        """Keep the trace, and the cache unless runs share one, in `folder`; cached prompts are not sent again.

        worker: name of this instance where others use the same folder; `gather` then merges the traces.
        """
        self._trace = Trace(folder, worker)
        if not self._shared:
            self.cache.close()
            self.cache = AnswerCache(folder)

    def distill(self, records: Sequence[ImageRecord]) -> list[PseudoLabel]:
        """Labels of each record, most confident first; one empty label where the model does not know, or failed."""
        fields, prompts, keys = self.make_prompts(records)
        known = self.cache.get(dict.fromkeys(keys))
        missing = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in known}
        self._counts["records_read"] += len(records)
        self._counts["cache_hits"] += sum(key in known for key in keys)
        places: dict[str, list[int]] = {}
        for place, key in enumerate(keys):
            places.setdefault(key, []).append(place)
        labels: list[list[PseudoLabel]] = [[] for _ in records]
        lines: list[dict[str, Any]] = [{} for _ in records]
        # replies are parsed while the next ones are under way
        for key, reply in chain(known.items(), self._query_and_cache(missing)):
            for place in places[key]:
                labels[place], line = self._read(records[place], fields[place], reply)
                lines[place] = {**line, "prompt": key, "cached": key in known}
        if self._trace:
            self._trace.add(lines)
        return [label for group in labels for label in group]

    def make_prompts(self, records: Sequence[ImageRecord]) -> tuple[list[Fields], list[Messages], list[str]]:
        """For each record its cleaned fields, its prompt, and the cache key of the reply."""
        fields = [self.prompt.fields(record) for record in records]
        prompts = [self.prompt.render(cleaned) for cleaned in fields]
        return fields, prompts, self.keys(prompts)

    def keys(self, prompts: Sequence[Messages]) -> list[str]:
        """The cache key of each prompt's reply."""
        return [key_of(prompt, self.model, self.sampling) for prompt in prompts]

    def counts(self) -> dict[str, float]:
        """Counters since construction, by name; those of several instances add up."""
        failures = {FAILURE_PREFIX + kind: count for kind, count in self._failures.items()}
        return {**self._counts, "query_seconds": self._seconds, **failures}

    def figures(self, counts: Mapping[str, float] | None = None) -> dict[str, Any]:
        """Counts and rates, of this instance unless summed `counts` are given."""
        return super().figures(self.counts() if counts is None else counts)

    def _query_and_cache(self, prompts: Mapping[str, Messages]) -> Iterator[tuple[str, Reply]]:
        """The model's replies by key; each is cached as soon as it arrives, even if the next one raises."""
        keys = list(prompts)
        started = time.perf_counter()
        try:
            for place, reply in self.query(list(prompts.values())) if keys else ():
                self.cache.put(keys[place], reply)
                self._counts["queries"] += 1
                self._counts["tokens_in"] += reply.tokens_in
                self._counts["tokens_out"] += reply.tokens_out
                yield keys[place], reply
        finally:
            self.cache.commit()
            self._seconds += time.perf_counter() - started

    def _read(self, record: ImageRecord, fields: Fields, reply: Reply) -> tuple[list[PseudoLabel], dict[str, Any]]:
        """The labels of a reply, and its line of the trace."""
        answer = self._parse(reply)
        failure = reply.failure or answer.failure
        chosen: dict[str, PseudoLabel] = {}
        decisions = []
        for claim in answer.claims:
            label, decision = self._label_of(record, claim, fields)
            decisions.append({"claimed": claim.label, "quoted": claim.evidence, "label": label.label, **decision})
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

    def _parse(self, reply: Reply) -> Answer:
        if reply.failure and not reply.text:
            return Answer(failure=reply.failure)
        if self.answers == "json":
            return parse_json(reply.text, self.labels)
        if self.answers == "paper":
            return parse_paper(reply.text, reply.confidence)
        return parse_plain(reply.text, self.labels, reply.confidence)

    def _label_of(self, record: ImageRecord, claim: Claim, fields: Fields) -> tuple[PseudoLabel, dict[str, Any]]:
        """The label of a claim, empty if it is dropped, and the decision for the trace."""
        concept = self.merging.canonical(claim.label)
        name = claim.label if self.answers == "paper" else concept
        grounding = ground_claim(claim, concept, fields, self.vocabulary)
        confidence = claim.confidence * (1.0 if grounding.grounded else self.ungrounded)
        dropped = ""
        if not name or (self.closed and name not in self.vocabulary.wider):
            dropped = "not in the vocabulary" if name else "only a direction"
        elif grounding.has_instructions and not grounding.grounded and self.ungrounded < 1.0:
            dropped = "the record contains instructions"
            self._counts["dropped_instructions"] += 1
        elif confidence < self.min_confidence or round(confidence, 4) <= 0.0:
            dropped = "too uncertain"
        self._counts["ungrounded"] += not grounding.grounded
        label = PseudoLabel(record.image_id, name, round(confidence, 4), grounding.evidence)
        decision = {"grounded": grounding.grounded, "evidence": grounding.evidence, "dropped": dropped}
        return (PseudoLabel(record.image_id, "") if dropped else label), decision
