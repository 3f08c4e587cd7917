"""Canonical labels (`portal`, `portals`, `portail`: `portal`), and merging of rare labels into broader ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from halonerf.distillers.gazetteer.inflection import forms, words
from halonerf.distillers.gazetteer.normalise import without_compass
from halonerf.distillers.gazetteer.vocabulary import Vocabulary
from halonerf.errors import BadInput

SECTIONS = ("same_as", "part_of")
_SINGULAR_ENDINGS = ("ss", "us", "is", "as", "os")  # "cross", "campus", "apsis", "atlas": no plurals


class Merging:
    """Canonical labels by the vocabulary and an optional user file that has priority over it.

    The file is YAML with two optional maps: `same_as` (label -> synonyms) and `part_of` (label -> the label or labels
    that it is a part of).
    """

    def __init__(self, vocabulary: Vocabulary, same_as: str | None = None) -> None:
        """Raises: BadInput where the file cannot be read, or has other contents."""
        self.vocabulary = vocabulary
        data = _load(Path(same_as).expanduser()) if same_as else {}
        self._same = {
            form: label
            for label, others in data.get("same_as", {}).items()
            for phrase in (label, *others)
            for form in (forms(phrase, "en") if words(phrase) else ())
        }
        self._part_of = {label: frozenset(wholes) for label, wholes in data.get("part_of", {}).items()}
        self.canonical = lru_cache(maxsize=1 << 16)(self._canonical)

    def wholes(self, label: str) -> frozenset[str]:
        """Labels of which `label` is a kind or a part."""
        return self._part_of.get(label, frozenset()) | self.vocabulary.wholes.get(label, frozenset())

    def broader(self, label: str) -> frozenset[str]:
        """Labels of which `label` is a kind."""
        return self.vocabulary.wider.get(label, frozenset())

    def merge_rare_labels(self, counts: Mapping[str, int], min_count: int) -> dict[str, str]:
        """Replacement of each label, where those of fewer than `min_count` records go: a broader label, or "".

        A rare label becomes one of which it is a kind, else the label that it ends with ("gothic portal": "portal"), if
        that is frequent.
        """
        replacement = {label: label for label, count in counts.items() if label and count >= min_count}
        total = Counter(counts)
        for label in sorted(counts, key=lambda label: (counts[label], label)):
            if label and label not in replacement:
                heads = [self.label_of(tail) for tail in _tails(words(label))]
                found = [name for name in (*sorted(self.broader(label)), *heads) if name and name != label]
                replacement[label] = next((name for name in found if total[name] >= min_count), "")
        return replacement

    def label_of(self, phrase: tuple[str, ...]) -> str:
        """The label that a phrase of folded words has in the file or the vocabulary; "" where it is in neither."""
        if phrase in self._same:
            return self._same[phrase]
        entry = self.vocabulary.entry(phrase)
        if entry is not None and entry.kind == "concept":
            return entry.value
        return self.vocabulary.compound(phrase[0]) if len(phrase) == 1 else ""

    def _canonical(self, label: str) -> str:
        """The canonical label; for one that is not listed, `label` without compass direction, in the singular."""
        stripped = without_compass(label)
        for text in (label, stripped):  # "west front" is listed: a facade
            found = self.label_of(words(text))
            if found:
                return found
        return singular(stripped)


def singular(label: str) -> str:
    """Singular of an English label: "choir stalls" -> "choir stall"."""
    head, space, last = label.rpartition(" ")
    if len(last) > 4 and last.endswith("ies"):
        last = last[:-3] + "y"
    elif last.endswith(("sses", "xes", "zes", "ches", "shes")):
        last = last[:-2]
    elif len(last) > 3 and last.endswith("s") and not last.endswith(_SINGULAR_ENDINGS):
        last = last[:-1]
    return head + space + last


def _tails(phrase: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [phrase[start:] for start in range(1, len(phrase))]


def _load(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"expected same_as to be a YAML file, but {path} cannot be read: {error}") from error
    if not isinstance(data, dict) or set(data) - set(SECTIONS):
        raise BadInput(f"expected the sections {' and '.join(SECTIONS)} in {path}, got {list(data)[:8]}.")
    result: dict[str, Any] = {}
    for section, entries in data.items():
        if not isinstance(entries, dict):
            raise BadInput(f"expected a map of labels under {section} in {path}, got {type(entries).__name__}.")
        for label, others in entries.items():
            listed = [others] if isinstance(others, str) else others
            if not isinstance(listed, list) or not all(isinstance(word, str) for word in (label, *listed)):
                raise BadInput(f"expected {section}.{label} in {path} to be a word or a list of words, got {others!r}.")
            result.setdefault(section, {})[label] = listed
    return result
