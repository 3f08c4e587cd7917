"""Parsing of model answers into claims: by a JSON schema where decoding is constrained, otherwise from plain text."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from halonerf.distillers.gazetteer.normalise import (
    EDGE_CHARACTERS,
    LEAD_IN,
    MAX_EVIDENCE_CHARS,
    MAX_LABEL_CHARS,
    clean_label,
    is_unknown,
    without_compass,
)

MAX_ANSWER_CHARS = 20_000  # that are parsed
NOT_JSON_CONFIDENCE = 0.3  # of a plain answer where JSON was expected: kept only where the record supports it
MAX_PLAIN_WORDS = 6  # a longer answer that should have been JSON is prose, not a label
NOT_JSON, WRONG_FORM, EMPTY = "not_json", "wrong_form", "empty"
_THOUGHT = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Claim:
    """One label as the model gave it; `evidence` is its quotation from the record, not yet verified."""

    label: str
    confidence: float  # in [0, 1]
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The claims of an answer, empty for "unknown"; `failure`: NOT_JSON, WRONG_FORM, EMPTY, or ""."""

    claims: tuple[Claim, ...] = ()
    language: str = ""
    failure: str = ""


def schema(labels: int, concepts: Sequence[str] = ()) -> dict[str, Any]:
    """The JSON schema of a structured answer.

    Every length is bounded and numbers and labels have a finite set of forms, so that even a random model ends its
    answer within a known number of tokens.

    Args:
        labels: maximum number. concepts: the only labels allowed; empty: any words of a-z.
    """
    label = (
        {"enum": list(concepts)}
        if concepts
        else {"type": "string", "pattern": f"^[a-z][a-z -]{{1,{MAX_LABEL_CHARS - 2}}}$"}
    )
    claim = {
        "label": label,
        "confidence": {"enum": [tenth / 10 for tenth in range(11)]},
        "evidence": {
            "type": "string",
            "pattern": rf'^[^"\\\x00-\x1f\x7f]{{0,{MAX_EVIDENCE_CHARS}}}$',
        },  # nothing to escape
    }
    answer = {
        "labels": {"type": "array", "maxItems": labels, "items": _object(claim)},
        "language": {"type": "string", "pattern": "^[a-z]{2,3}$"},
    }
    return _object(answer)


def parse_json(text: str, labels: int) -> Answer:
    """Parse the JSON object in `text`; a short answer in plain words is parsed as such and marked NOT_JSON."""
    text = _THOUGHT.sub("", text[:MAX_ANSWER_CHARS])
    start = text.find("{")
    if start < 0:
        if len(text.split()) > MAX_PLAIN_WORDS:
            return Answer(failure=NOT_JSON)
        return Answer(parse_plain(text, 1, NOT_JSON_CONFIDENCE).claims, failure=NOT_JSON)
    try:
        data, _ = json.JSONDecoder(strict=False, parse_constant=_refuse).raw_decode(text, start)
    except (ValueError, RecursionError):
        return Answer(failure=NOT_JSON)
    return _validated(data, labels)


def parse_plain(text: str, labels: int, confidence: float) -> Answer:
    """Parse an answer in plain words: its first line, split at commas, semicolons, bars and slashes.

    Args:
        confidence: of every claim, from the model's token probabilities.
    """
    lines = [
        line.strip()
        for line in _THOUGHT.sub("", text[:MAX_ANSWER_CHARS]).strip().splitlines()
        if line.strip(EDGE_CHARACTERS)
    ]
    if not lines:
        return Answer(failure=EMPTY)
    line = LEAD_IN.sub("", lines[0].strip(EDGE_CHARACTERS).lower(), count=1)
    if is_unknown(line):
        return Answer()
    parts = [clean_label(part) for part in re.split(r"[,;|/]", line)] if labels > 1 else [clean_label(line)]
    kept = [part for part in dict.fromkeys(parts) if part and not is_unknown(part)]
    return Answer(tuple(Claim(part, confidence) for part in kept[:labels]))


def parse_paper(text: str, confidence: float) -> Answer:
    """Parse an answer as in HaLo-NeRF: lower case, "unknown" filtered, leading compass directions removed."""
    line = " ".join(text[:MAX_ANSWER_CHARS].lower().split())
    label = clean_label(without_compass(line)) if line and not is_unknown(line) else ""
    return Answer((Claim(label, confidence),) if label else ())


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _validated(data: Any, labels: int) -> Answer:
    """Claims of parsed JSON; one wrong entry invalidates the answer, as the model did not keep to the format."""
    entries = data.get("labels") if isinstance(data, dict) else None
    if not isinstance(entries, list):
        return Answer(failure=WRONG_FORM)
    claims: dict[str, Claim] = {}
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("label"), str):
            return Answer(failure=WRONG_FORM)
        confidence, evidence = entry.get("confidence"), entry.get("evidence", "")
        if isinstance(confidence, bool) or not isinstance(confidence, (int, float)) or not isinstance(evidence, str):
            return Answer(failure=WRONG_FORM)
        if not 0.0 <= confidence <= 1.0:
            return Answer(failure=WRONG_FORM)
        label = clean_label(entry["label"])
        if label and not is_unknown(label) and confidence > 0:
            claims.setdefault(label, Claim(label, float(confidence), evidence[:MAX_EVIDENCE_CHARS]))
    language = data.get("language", "")
    code = language.lower() if isinstance(language, str) and re.fullmatch(r"[A-Za-z]{2,3}", language) else ""
    return Answer(tuple(claims.values())[:labels], code)
