"""Mentions of building parts in a text, with their role: shown, setting, standpoint, or denied."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import compress

from halonerf.distillers.gazetteer.inflection import fold
from halonerf.distillers.gazetteer.vocabulary import PART, Entry, Vocabulary

SHOWN, ALSO, SETTING, STANDPOINT, DENIED = "shown", "also", "setting", "standpoint", "denied"

_WORD = re.compile(r"([^\W\d_ʻʼ]+|\d+|[&+])")  # the captured words stand between their separators when split
_CAMEL = re.compile(r"(?<=[a-zß-öø-ÿ])(?=[A-ZÀ-ÖØ-Þ])")
_TAG = re.compile(r"<[^<>]{0,200}>")
_BREAK = re.compile(r"[,;:.!?()\[\]{}|/\\\n\"“”«»•=–—]|[\s_]-+[\s_]|--")
_PLAIN = frozenset(("", " ", "_", "'", "’", "-"))  # the usual separators that do not end a stretch of text
_JOINS = frozenset({"&", "+", "and", "und", "et", "e", "y", "i", "en", "ve", "wa", "ed", "och", "и", "oraz"})
_AND = _JOINS | frozenset({"the", "die", "der",
                  "das", "les", "la", "le", "l", "el", "los", "las", "il", "lo", "gli", "o", "a", "os", "as", "de",
                  "het", "al", "its", "his", "two", "three", "deux", "zwei", "dos", "due"})  # fmt: skip
_ROLE = {
    "viewpoint": STANDPOINT,
    "setting": SETTING,
    **dict.fromkeys(("nearby", "absent", "credit", "street"), DENIED),
}


@dataclass(frozen=True, slots=True)
class Mention:
    """One mention of a part: `words` verbatim, `position` in words, `segment`: number of the stretch of text.

    role: SHOWN; ALSO, coordinated with one that is shown ("and"); SETTING, where or beside which that is; STANDPOINT,
    where the photo was taken; DENIED, part of a street's name, something nearby, something missing.
    """

    concept: str
    role: str
    words: str
    position: int
    segment: int


class _Text:
    """A text as lists with one entry per word: folded, verbatim, the separator before it, and its segment."""

    __slots__ = ("before", "folded", "raw", "segment")

    def __init__(self, text: str) -> None:
        pieces = _WORD.split(text)
        self.before, self.raw = pieces[:-1:2], pieces[1::2]
        self.folded = list(map(_folded, self.raw))
        if "" in self.folded:
            self._split_camels()
        self.segment: list[int] = []

    def divide(self) -> None:
        """Compute the segments; only texts with mentions need them."""
        last = 0
        for segment, stop in enumerate(
            [i for i, s in enumerate(self.before) if s not in _PLAIN and i and _ends_segment(s)]
        ):
            self.segment += [segment] * (stop - last)
            last = stop
        self.segment += [self.segment[-1] + 1 if self.segment else 0] * (len(self.raw) - last)

    def _split_camels(self) -> None:
        parts = [
            _CAMEL.split(word) if not folded else [word] for word, folded in zip(self.raw, self.folded, strict=True)
        ]
        self.before = [
            separator if first else ""
            for separator, words in zip(self.before, parts, strict=True)
            for first in [True] + [False] * (len(words) - 1)
        ]
        self.raw = [part for words in parts for part in words]
        self.folded = [fold(part) for part in self.raw]

    def words(self, start: int, end: int) -> str:
        """The text verbatim from word `start` to before word `end`."""
        if end == start + 1:
            return self.raw[start]
        return self.raw[start] + "".join(self.before[i] + self.raw[i] for i in range(start + 1, end))

    def has(self, position: int, words: tuple[str, ...]) -> bool:
        """Whether the text continues with the folded `words` at `position`, across segments."""
        return tuple(self.folded[position : position + len(words)]) == words


def clean(text: str, characters: int) -> str:
    """At most `characters` of `text`, without markup, control characters and lone surrogates."""
    if not text:
        return ""
    text = text[:characters]
    if "&" in text:
        text = html.unescape(text)
    if "<" in text:
        text = _TAG.sub(" | ", text)
    if not text.isprintable():
        text = "".join(c if c.isprintable() else ("\n" if c in "\n\r" else _replacement(c)) for c in text)
    return unicodedata.normalize("NFC", text)


def find_mentions(text: str, vocabulary: Vocabulary, skip: tuple[str, ...] = ()) -> tuple[Mention, ...]:
    """All mentions of parts in a cleaned text, in reading order.

    Args:
        skip: folded words of a name (the landmark's) that is skipped wherever it occurs as a whole.
    """
    read = _Text(text)
    starts = list(map(vocabulary.starts, read.folded))
    if PART not in starts:
        return ()
    read.divide()
    segments = read.segment
    found: list[Mention] = []
    scope, scope_end = SHOWN, -1
    last_end, last, here = -1, -1, 0  # of the last part that is shown; here: their segment
    end = 0
    for position in range(len(starts)) if skip else compress(range(len(starts)), starts):
        if position < end:
            continue
        if segments[position] != here:
            scope, scope_end, last_end, here = SHOWN, -1, -1, segments[position]
        if skip and read.has(position, skip):
            end = position + len(skip)
            continue
        entry, end = _entry(read, position, vocabulary)
        if entry is None:
            continue
        if entry.kind == "instruction":
            break
        if entry.kind == "cue":
            scope, scope_end = _ROLE[entry.value], end + entry.reach
        elif entry.kind in ("concept", "from") and _is_part(read, position, end, vocabulary):
            role = scope if position < scope_end else SHOWN
            after = _denial_after(read, end, vocabulary)
            if entry.kind == "from" or after:
                role = STANDPOINT if entry.kind == "from" or after == "viewpoint" else DENIED
            if role == SHOWN and last_end >= 0:
                role = _role_after(found, last, read.folded[last_end:position], entry)
            if role not in (STANDPOINT, DENIED):
                last_end, last = end, len(found)
            found.append(Mention(entry.value, role, read.words(position, end), position, here))
    return tuple(found)


def _role_after(found: list[Mention], last: int, gap: Sequence[str], entry: Entry) -> str:
    """Role of a part mentioned after another, `found[last]`, in the same segment; gap: the folded words between."""
    previous = found[last]
    if not gap or gap == ["s"]:  # "portal statue", "tower's spire": English and German put the head noun last
        if not entry.head_last and not gap:
            return SETTING
        if previous.role in (SHOWN, ALSO):
            found[last] = replace(previous, role=SETTING)
        return previous.role
    if _JOINS & set(gap) and _AND.issuperset(gap):
        return ALSO if previous.role == SHOWN else previous.role
    return SETTING


def _entry(read: _Text, position: int, vocabulary: Vocabulary) -> tuple[Entry | None, int]:
    """The longest entry of the vocabulary that begins at `position`, or a compound, and its end."""
    folded, segments = read.folded, read.segment
    node = vocabulary.index.get(folded[position])
    best, end, here = None, position + 1, position + 1
    while node is not None:
        if node.entry is not None:
            best, end = node.entry, here
        if not node.next or here >= len(folded) or segments[here] != segments[position]:
            break
        node = node.next.get(folded[here])
        here += 1
    if best is None and len(folded[position]) > 6 and (name := vocabulary.compound(folded[position])):
        best = Entry("concept", name, head_last=True)
    return best, end


def _is_part(read: _Text, position: int, end: int, vocabulary: Vocabulary) -> bool:
    """Whether the words name a part: unambiguous, or with a word of the context that their rule requires."""
    rule = vocabulary.ambiguous.get(read.folded[position]) if end == position + 1 else None
    if rule is None:
        return True
    before = read.folded[position - 1] if position else ""
    after = read.folded[end] if end < len(read.folded) else ""
    return before in rule[0] or after in rule[1] or not rule[2].isdisjoint(read.folded)


def _denial_after(read: _Text, end: int, vocabulary: Vocabulary) -> str:
    """Kind of denial by the words after a part: a street, a standpoint, or something nearby; "" for none."""
    if end >= len(read.folded) or read.segment[end] != read.segment[end - 1]:
        return ""
    for rest, kind in vocabulary.after.get(read.folded[end], ()):
        stop = end + 1 + len(rest)
        if stop <= len(read.folded) and read.segment[stop - 1] == read.segment[end] and read.has(end + 1, rest):
            return kind
    return ""


@lru_cache(maxsize=1 << 16)
def _folded(word: str) -> str:
    """`word` without case and accents; "" where it is several words in camel case."""
    plain = word.islower() or word.istitle() or word.isupper()
    return fold(word) if plain or len(_CAMEL.split(word)) == 1 else ""


@lru_cache(maxsize=1 << 12)
def _ends_segment(separator: str) -> bool:
    """Whether a separator between two words ends a segment."""
    return _BREAK.search(separator) is not None


def _replacement(character: str) -> str:
    """Replacement of an unprintable character: "" for format characters (joiners, direction marks), else a space."""
    return "" if unicodedata.category(character) == "Cf" else " "
