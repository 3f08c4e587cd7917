"""What a model said, read as labels: by a JSON schema where it can be held to one, otherwise from plain words."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from halonerf.distillers.gazetteer.normalise import (
    _EDGES,
    _LEAD,
    EVIDENCE,
    LABEL,
    clean_label,
    is_unknown,
    without_compass,
)

READ = 20_000  # characters of an answer that are looked at
OUT_OF_FORM = 0.3  # confidence of a plain answer where JSON was wanted: kept only where the record supports it
PLAIN_WORDS = 6  # an answer of more words that should have been JSON is no label but talk
NOT_JSON, WRONG_FORM, EMPTY = "not_json", "wrong_form", "empty"
_THOUGHT = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Claim:
    """One label as a model gave it; `evidence` is its quotation, not yet looked up."""

    label: str
    confidence: float  # in [0, 1]
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The claims of an answer, none where the model does not know; `failure` is what was wrong with its form, or ""."""

    claims: tuple[Claim, ...] = ()
    language: str = ""
    failure: str = ""


def schema(labels: int, concepts: Sequence[str] = ()) -> dict[str, Any]:
    """The JSON schema of a structured answer.

    Every length is bounded, numbers and labels come from finite sets of forms, so that even a model that talks at
    random ends its answer within a known number of tokens.

    Args:
        labels: at most so many. concepts: the only labels there are; empty: any words of a-z.
    """
    label = {"enum": list(concepts)} if concepts else {"type": "string", "pattern": f"^[a-z][a-z -]{{1,{LABEL - 2}}}$"}
    claim = {
        "label": label,
        "confidence": {"enum": [tenth / 10 for tenth in range(11)]},
        "evidence": {"type": "string", "pattern": rf'^[^"\\\x00-\x1f\x7f]{{0,{EVIDENCE}}}$'},  # nothing to escape
    }
    answer = {
        "labels": {"type": "array", "maxItems": labels, "items": _object(claim)},
        "language": {"type": "string", "pattern": "^[a-z]{2,3}$"},
    }
    return _object(answer)


def parse_json(text: str, labels: int) -> Answer:
    """A structured answer, wherever in `text` it begins; a short plain one is read as words and marked NOT_JSON."""
    text = _THOUGHT.sub("", text[:READ])
    start = text.find("{")
    if start < 0:
        if len(text.split()) > PLAIN_WORDS:
            return Answer(failure=NOT_JSON)
        return Answer(parse_plain(text, 1, OUT_OF_FORM).claims, failure=NOT_JSON)
    try:
        data, _ = json.JSONDecoder(strict=False, parse_constant=_refuse).raw_decode(text, start)
    except (ValueError, RecursionError):
        return Answer(failure=NOT_JSON)
    return _validated(data, labels)


def parse_plain(text: str, labels: int, confidence: float) -> Answer:
    """An answer in words: its first line, parted at commas and semicolons.

    Args:
        confidence: that every claim gets; what the model's own probabilities say.
    """
    lines = [line.strip() for line in _THOUGHT.sub("", text[:READ]).strip().splitlines() if line.strip(_EDGES)]
    if not lines:
        return Answer(failure=EMPTY)
    line = _LEAD.sub("", lines[0].strip(_EDGES).lower(), count=1)
    if is_unknown(line):
        return Answer()
    parts = [clean_label(part) for part in re.split(r"[,;|/]", line)] if labels > 1 else [clean_label(line)]
    kept = [part for part in dict.fromkeys(parts) if part and not is_unknown(part)]
    return Answer(tuple(Claim(part, confidence) for part in kept[:labels]))


def parse_paper(text: str, confidence: float) -> Answer:
    """An answer as the paper cleans it: lower case, unknown or not, no leading compass direction, and no more."""
    line = " ".join(text[:READ].lower().split())
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
    raise ValueError(f"{constant} is no JSON")


def _validated(data: Any, labels: int) -> Answer:
    """Claims of parsed JSON; one wrong entry makes the whole answer wrong, since it shows a model out of its form."""
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
            claims.setdefault(label, Claim(label, float(confidence), evidence[:EVIDENCE]))
    language = data.get("language", "")
    spoken = language.lower() if isinstance(language, str) and re.fullmatch(r"[A-Za-z]{2,3}", language) else ""
    return Answer(tuple(claims.values())[:labels], spoken)
