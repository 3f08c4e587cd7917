"""Where a text names a part of a building, and how: as what is shown, as its setting, or as something not seen."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace

from halonerf.distillers.inflection import fold
from halonerf.distillers.vocabulary import Entry, Vocabulary

SHOWN, ALSO, SETTING, STANDPOINT, DENIED = "shown", "also", "setting", "standpoint", "denied"

_TOKEN = re.compile(r"[^\W\d_]+|\d+|[&+]")
_CAMEL = re.compile(r"(?<=[a-zß-öø-ÿ])(?=[A-ZÀ-ÖØ-Þ])")
_TAG = re.compile(r"<[^<>]{0,200}>")
_BREAK = re.compile(r"[,;:.!?()\[\]{}|/\\\n\"“”«»•=–—]|[\s_]-+[\s_]|--")
_MARKS = frozenset("’ʻ`´")  # apostrophes, besides the typewriter's, that do not separate
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
    """One naming of a part: `words` is the text as it stands, `position` counts words, `segment` stretches of text.

    role: SHOWN; ALSO, joined to one that is shown; SETTING, where or beside which that is; STANDPOINT, where the photo
    was taken; DENIED, a street's name, something near, something missing.
    """

    concept: str
    role: str
    words: str
    position: int
    segment: int


@dataclass(slots=True)
class _Token:
    folded: str
    start: int
    end: int
    segment: int


def clean(text: str, characters: int) -> str:
    """At most `characters` of `text`, without markup, control characters and half Unicode."""
    if not text:
        return ""
    text = text[:characters]
    if "&" in text:
        text = html.unescape(text)
    if "<" in text:
        text = _TAG.sub(" | ", text)
    if not text.isprintable():
        text = "".join(c if c.isprintable() else ("\n" if c in "\n\r" else _blank(c)) for c in text)
    return unicodedata.normalize("NFC", text)


def find_mentions(text: str, vocabulary: Vocabulary, skip: tuple[str, ...] = ()) -> tuple[Mention, ...]:
    """Every part that a cleaned text names, in its order.

    Args:
        skip: folded words of a name (the landmark's) that is to be passed over wherever it stands as a whole.
    """
    tokens = _tokens(text)
    found: list[Mention] = []
    scope, scope_end = SHOWN, -1
    last_end, last, position = -1, -1, 0  # of the last part that is in the picture
    while position < len(tokens):
        token = tokens[position]
        if position and token.segment != tokens[position - 1].segment:
            scope, scope_end, last_end = SHOWN, -1, -1
        if skip and _matches(tokens, position, skip):
            position += len(skip)
            continue
        entry = _entry(tokens, position, vocabulary)
        if entry is None:
            position += 1
            continue
        end = position + 1 + len(entry.rest)
        if entry.kind == "instruction":
            break
        if entry.kind == "cue":
            scope, scope_end = _ROLE[entry.value], end + entry.reach
        elif entry.kind in ("concept", "from") and _meant(tokens, position, end, vocabulary):
            role = scope if position < scope_end else SHOWN
            after = _after(tokens, end, vocabulary)
            if entry.kind == "from" or after:
                role = STANDPOINT if entry.kind == "from" or after == "viewpoint" else DENIED
            if role == SHOWN and last_end >= 0:
                role = _beside(found, last, tokens[last_end:position], entry)
            if role not in (STANDPOINT, DENIED):
                last_end, last = end, len(found)
            words = text[token.start : tokens[end - 1].end]
            found.append(Mention(entry.value, role, words, position, token.segment))
        position = end
    return tuple(found)


def _beside(found: list[Mention], last: int, between: Sequence[_Token], entry: Entry) -> str:
    """The role of a part named after another one, `found[last]`, in the same stretch of text."""
    previous, gap = found[last], [token.folded for token in between]
    if not gap or gap == ["s"]:  # "portal statue", "tower's spire": English and German end with the thing
        if not entry.head_last and not gap:
            return SETTING
        if previous.role in (SHOWN, ALSO):
            found[last] = replace(previous, role=SETTING)
        return previous.role
    if _JOINS & set(gap) and _AND.issuperset(gap):
        return ALSO if previous.role == SHOWN else previous.role
    return SETTING


def _entry(tokens: Sequence[_Token], position: int, vocabulary: Vocabulary) -> Entry | None:
    """The longest entry of the vocabulary that begins here, or a compound."""
    folded = tokens[position].folded
    for entry in vocabulary.index.get(folded, ()):
        if not entry.rest or _matches(tokens, position + 1, entry.rest, tokens[position].segment):
            return entry
    name = vocabulary.compound(folded) if len(folded) > 6 else ""
    return Entry((), "concept", name, head_last=True) if name else None


def _matches(tokens: Sequence[_Token], position: int, words: tuple[str, ...], segment: int | None = None) -> bool:
    if position + len(words) > len(tokens):
        return False
    for offset, word in enumerate(words):
        token = tokens[position + offset]
        if token.folded != word or (segment is not None and token.segment != segment):
            return False
    return True


def _meant(tokens: Sequence[_Token], position: int, end: int, vocabulary: Vocabulary) -> bool:
    """Whether an ambiguous word stands beside one that tells it is a part."""
    rule = vocabulary.ambiguous.get(tokens[position].folded) if end == position + 1 else None
    if rule is None:
        return True
    before = tokens[position - 1].folded if position else ""
    after = tokens[end].folded if end < len(tokens) else ""
    return before in rule[0] or after in rule[1] or any(token.folded in rule[2] for token in tokens)


def _after(tokens: Sequence[_Token], end: int, vocabulary: Vocabulary) -> str:
    """The kind of denial, if the words behind a part say that it is a street, a standpoint, or only nearby."""
    if end >= len(tokens) or tokens[end].segment != tokens[end - 1].segment:
        return ""
    for rest, kind in vocabulary.after.get(tokens[end].folded, ()):
        if _matches(tokens, end + 1, rest, tokens[end].segment):
            return kind
    return ""


def _tokens(text: str) -> list[_Token]:
    """Words and numbers with their places; camel case is split, marks of omission are not kept."""
    text = "".join("'" if c in _MARKS else c for c in text) if not text.isascii() else text
    tokens: list[_Token] = []
    segment, end = 0, 0
    for match in _TOKEN.finditer(text):
        start = match.start()
        if tokens and start - end >= 1 and _BREAK.search(text, end, start):
            segment += 1
        word = match.group()
        end = match.end()
        if word.islower() or word.istitle() or word.isupper():
            tokens.append(_Token(fold(word), start, end, segment))
            continue
        for part in _CAMEL.split(word):
            tokens.append(_Token(fold(part), start, start + len(part), segment))
            start += len(part)
    return tokens


def _blank(character: str) -> str:
    """Format characters (joiners, direction marks) vanish; the rest of the unprintable becomes a space."""
    return "" if unicodedata.category(character) == "Cf" else " "
