"""What people wrote on a wiki, as plain text: no tags, no hidden parts, no characters that steer the screen."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any

LONGEST = 50_000  # characters of HTML that are read; descriptions are rarely longer than a thousand
BREAKS = frozenset(("br", "p", "div", "li", "tr", "dd", "dt", "td", "th", "ul", "ol", "table", "hr", "h2", "h3"))
SILENT = frozenset(("script", "style", "template"))
VOID = frozenset(("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"))
# Marks that turn the direction of what follows, byte order marks, spaces without width; joiners are letters' own.
STEERING = re.compile("[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]")


def plain_text(html: str) -> str:
    """The visible text of a piece of HTML on one line."""
    reader = _Reader()
    reader.feed(html[:LONGEST])
    reader.close()
    return tidy_text("".join(reader.parts))


def tidy_text(text: str) -> str:
    """Composed letters, single spaces; control characters and broken halves of characters become spaces."""
    text = STEERING.sub("", unicodedata.normalize("NFC", text))
    kept = (" " if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in text)
    return " ".join("".join(kept).split())


def in_languages(value: Any) -> dict[str, str]:
    """Plain text by language of a value of `extmetadata`: HTML, or HTML by language; "" where none is named.

    The API has a mapping for `iiextmetadatamultilang`, with keys of its own ("_type") among the languages.
    """
    if not isinstance(value, Mapping):
        value = {"": value}
    texts = {
        tidy_text(str(key))[:20]: plain_text(str(html)) for key, html in value.items() if not str(key).startswith("_")
    }
    return {language: text for language, text in texts.items() if text}


def one_line(value: Any) -> str:
    """Plain text of a value of `extmetadata`, in English where there are several languages, else in the first."""
    texts = in_languages(value)
    return texts.get("en") or next(iter(texts.values()), "")


class _Reader(HTMLParser):
    """Collects what a browser would show."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden = ""  # the tag of the part that is not shown
        self._depth = 0  # tags of that name that are open in it

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        style = re.sub(r"\s", "", dict(attrs).get("style") or "").lower()
        if self._hidden:
            self._depth += tag == self._hidden
        elif tag in SILENT or ("display:none" in style and tag not in VOID):
            self._hidden, self._depth = tag, 1
        elif tag in BREAKS:
            self.parts.append(" ")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in BREAKS:
            self.parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if self._hidden and tag == self._hidden:
            self._depth -= 1
            self._hidden = self._hidden if self._depth else ""
        elif tag in BREAKS:
            self.parts.append(" ")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)
