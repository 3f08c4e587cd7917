"""The gazetteer: phrases that name building parts, and context words that determine how a part is meant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from halonerf.distillers.gazetteer.inflection import fold, forms, turkish_from, words
from halonerf.errors import BadInput

PACKAGED = Path(__file__).parents[1] / "vocabulary.yaml"
HEAD_LAST = frozenset({"en", "de", "nl", "tr"})  # languages that put the head noun last
SECTIONS = ("concepts", "ambiguous", "cues", "after", "before", "names", "instructions", "bound", "modifiers",
            "generic", "not_compounds")  # fmt: skip
STREET_REACH = 3  # words between "Rue de" and the part that the street is named after
CONTEXT, PART = 1, 2  # what a word may begin, see `Vocabulary.starts`


@dataclass(frozen=True, slots=True)
class Entry:
    """The meaning of a phrase.

    kind: "concept", "from" (a part as a standpoint), "cue", "name" or "instruction".
    value: the concept, or the cue's kind. reach: number of words that a cue applies to. head_last: see `HEAD_LAST`.
    """

    kind: str
    value: str = ""
    reach: int = 0
    head_last: bool = False


class Node:
    """A node of the prefix tree of phrases: the meaning of the words so far, if any, and the words that may follow."""

    __slots__ = ("entry", "next")

    def __init__(self) -> None:
        self.entry: Entry | None = None
        self.next: dict[str, Node] = {}


class Vocabulary:
    """A vocabulary file as a prefix tree of its phrases."""

    def __init__(self, path: str | Path | None = None) -> None:
        """path: a YAML file in the layout of the package's own; None: that one.

        Raises: BadInput where the file is missing, is no YAML, or lacks a section.
        """
        data = _load(PACKAGED if path is None else Path(path).expanduser())
        self.concepts: tuple[str, ...] = tuple(data["concepts"])
        self._is_a = {name: entry.get("is_a", "") for name, entry in data["concepts"].items()}
        self._part_of = {name: tuple(entry.get("part_of", ())) for name, entry in data["concepts"].items()}
        self.rooms = frozenset(name for name, entry in data["concepts"].items() if entry.get("room"))
        self.wider = {name: self._closure(name, parts=False) for name in self.concepts}
        self.wholes = {name: self._closure(name, parts=True) for name in self.concepts}
        self.ambiguous = {
            fold(word): tuple(_folded(rule.get(place, ())) for place in ("before", "after", "with"))
            for word, rule in data["ambiguous"].items()
        }
        self.after: dict[str, list[tuple[tuple[str, ...], str]]] = defaultdict(list)  # by first word
        for kind, phrases in data["after"].items():
            for phrase in phrases:
                self.after[words(phrase)[0]].append((words(phrase)[1:], kind))
        self.after.default_factory = None
        self._heads: dict[str, str] = {}
        self.index = self._index(data)
        self._bound, self._modifiers = _folded(data["bound"]), _folded(data["modifiers"])
        self._generic, self._not_compounds = _folded(data["generic"]), tuple(_folded(data["not_compounds"]))
        self.compound = lru_cache(maxsize=1 << 16)(self._compound)
        self.starts = lru_cache(maxsize=1 << 16)(self._starts)

    def _index(self, data: Mapping[str, Any]) -> dict[str, Node]:
        found: dict[tuple[str, ...], Entry] = {}

        def add(phrase: tuple[str, ...], entry: Entry) -> None:
            if phrase and phrase not in found:  # the first in the file has priority
                found[phrase] = entry

        for phrase in data["names"]:
            add(words(phrase), Entry("name"))
        for phrase in data["instructions"]:
            add(words(phrase), Entry("instruction"))
        listed: dict[tuple[str, ...], tuple[str, bool]] = {}  # as in the file, without other endings
        inflected: dict[tuple[str, ...], tuple[str, bool]] = {}
        for name, entry in data["concepts"].items():
            for language in [key for key in entry if len(key) == 2]:
                last = language in HEAD_LAST
                for phrase in entry[language]:
                    spelling = words(phrase)
                    listed[spelling] = (listed.get(spelling, (name,))[0], last or listed.get(spelling, (0, False))[1])
                    for form in forms(phrase, language):
                        inflected.setdefault(form, (name, last))
                        if language in ("de", "nl") and len(form) == 1:
                            self._heads.setdefault(form[0], name)
                    if language == "tr":
                        for form in turkish_from(phrase):
                            add(form, Entry("from", name))
        for phrase, (name, last) in {**inflected, **listed}.items():
            add(phrase, Entry("concept", name, head_last=last))
        for kind, rule in data["cues"].items():
            for phrase in rule["words"]:
                add(words(phrase), Entry("cue", kind, rule["reach"]))
        for phrase in data["before"]["street"]:
            add(words(phrase), Entry("cue", "street", STREET_REACH))
        root = Node()
        for phrase, entry in found.items():
            node = root
            for word in phrase:
                node = node.next.setdefault(word, Node())
            node.entry = entry
        return root.next

    def entry(self, phrase: tuple[str, ...]) -> Entry | None:
        """The meaning of a whole phrase of folded words; None where it has none."""
        level, node = self.index, None
        for word in phrase:
            node = level.get(word)
            if node is None:
                return None
            level = node.next
        return node.entry if node else None

    def _starts(self, word: str) -> int:
        """PART if a part's name may begin with this folded word, CONTEXT if only context phrases do, else 0."""
        if self.compound(word):
            return PART
        node = self.index.get(word)
        return 0 if node is None else PART if _names_part(node) else CONTEXT

    def _compound(self, word: str) -> str:
        """The concept of a German or Dutch compound, by its longest last part; "" where there is none."""
        if len(word) < 7 or len(word) > 60 or word.startswith(self._not_compounds):
            return ""
        for start in range(3, len(word) - 2):
            first, last = word[:start], word[start:]
            name = self._heads.get(last)
            if name and (
                (len(last) > 4 and last not in self._bound)
                or first in self._modifiers
                or first.removesuffix("s") in self._modifiers
            ):
                return name
            if last in self._generic:
                for stem in (first, first.removesuffix("s"), first.removesuffix("n")):
                    name = self._heads.get(stem) or (self.compound(stem) if len(stem) < len(word) else "")
                    if name:
                        return name
        return ""

    def _closure(self, name: str, parts: bool) -> frozenset[str]:
        """Transitive closure of "is a kind of" and, with `parts`, of "is a part of", without `name` itself."""
        reached: set[str] = set()
        pending = [name]
        while pending:
            current = pending.pop()
            wider = [self._is_a.get(current, "")] + (list(self._part_of.get(current, ())) if parts else [])
            for parent in wider:
                if parent and parent not in reached:
                    if parent not in self._is_a:
                        raise BadInput(f"expected '{current}' to refer to a concept of the vocabulary, got '{parent}'.")
                    reached.add(parent)
                    pending.append(parent)
        return frozenset(reached - {name})


def _names_part(node: Node) -> bool:
    """Whether a phrase through this node names a part, or is an instruction, which ends the search."""
    own = node.entry is not None and node.entry.kind in ("concept", "from", "instruction")
    return own or any(map(_names_part, node.next.values()))


def _load(path: Path) -> dict[str, Any]:
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"expected a vocabulary in YAML at {path}, but it cannot be read: {error}") from error
    missing = [section for section in SECTIONS if not isinstance(data, dict) or section not in data]
    if missing:
        raise BadInput(
            f"expected the sections {', '.join(SECTIONS)} in the vocabulary {path}, lacks: {', '.join(missing)}.\n"
            f"Start from a copy of {PACKAGED}."
        )
    return data


def _folded(entries: Any) -> frozenset[str]:
    return frozenset(fold(str(entry)) for entry in entries)
