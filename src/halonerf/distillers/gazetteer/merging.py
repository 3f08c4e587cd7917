"""One name for each thing: `portal`, `portals` and `portail` are `portal`; rare words become wider ones."""

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
_KEPT_S = ("ss", "us", "is", "as", "os")  # "cross", "campus", "apsis", "atlas": an s that is no plural


class Merging:
    """The vocabulary's words, and a file of one's own that goes before it.

    The file is YAML with two maps, both optional: `same_as` (a label -> other words for it) and `part_of` (a label ->
    the label or labels that it is a part of).
    """

    def __init__(self, vocabulary: Vocabulary, same_as: str | None = None) -> None:
        """Raises: BadInput where the file cannot be read, or holds anything else."""
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
        """All that `label` is a part or a kind of."""
        return self._part_of.get(label, frozenset()) | self.vocabulary.wholes.get(label, frozenset())

    def wider(self, label: str) -> frozenset[str]:
        """All that `label` is a kind of."""
        return self.vocabulary.wider.get(label, frozenset())

    def merge_rare_labels(self, counts: Mapping[str, int], least: int) -> dict[str, str]:
        """What each label becomes when those with fewer than `least` photos go: a commoner wider word, or "".

        A rare label becomes what it is a kind of, else the word it ends with ("gothic portal" is a portal), if that is
        a label of the vocabulary or frequent itself.
        """
        settled = {label: label for label, count in counts.items() if label and count >= least}
        total = Counter(counts)
        for label in sorted(counts, key=lambda label: (counts[label], label)):
            if label and label not in settled:
                heads = [self.known(tail) for tail in _tails(words(label))]
                found = [name for name in (*sorted(self.wider(label)), *heads) if name and name != label]
                settled[label] = next((name for name in found if total[name] >= least), "")
        return settled

    def known(self, phrase: tuple[str, ...]) -> str:
        """The label of folded words that are, all of them, a word of the file or the vocabulary; "" for any others."""
        if phrase in self._same:
            return self._same[phrase]
        entry = self.vocabulary.entry(phrase)
        if entry is not None and entry.kind == "concept":
            return entry.value
        return self.vocabulary.compound(phrase[0]) if len(phrase) == 1 else ""

    def _canonical(self, label: str) -> str:
        """The one name for `label`; itself without compass direction, in the singular, where no list has it."""
        stripped = without_compass(label)
        for text in (label, stripped):  # "west front" is listed: a facade
            found = self.known(words(text))
            if found:
                return found
        return singular(stripped)


def singular(label: str) -> str:
    """An English label in the singular: "choir stalls" -> "choir stall"."""
    head, space, last = label.rpartition(" ")
    if len(last) > 4 and last.endswith("ies"):
        last = last[:-3] + "y"
    elif last.endswith(("sses", "xes", "zes", "ches", "shes")):
        last = last[:-2]
    elif len(last) > 3 and last.endswith("s") and not last.endswith(_KEPT_S):
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
