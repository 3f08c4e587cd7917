"""Plain text from a wiki's HTML: without tags, hidden parts and control characters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any

MAX_HTML_CHARS = 50_000  # read of a text; descriptions are rarely longer than a thousand
BREAK_TAGS = frozenset(("br", "p", "div", "li", "tr", "dd", "dt", "td", "th", "ul", "ol", "table", "hr", "h2", "h3"))
HIDDEN_TAGS = frozenset(("script", "style", "template"))
VOID_TAGS = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr")
)
# Marks of text direction, byte order marks, spaces without width; joiners are parts of words.
INVISIBLE = re.compile("[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]")


def plain_text(html: str) -> str:
    """Visible text of a piece of HTML, on one line."""
    reader = _Reader()
    reader.feed(html[:MAX_HTML_CHARS])
    reader.close()
    return tidy_text("".join(reader.parts))


def tidy_text(text: str) -> str:
    """Text with composed letters and single spaces; control characters and lone surrogates become spaces."""
    text = INVISIBLE.sub("", unicodedata.normalize("NFC", text))
    kept = (" " if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in text)
    return " ".join("".join(kept).split())


def in_languages(value: Any) -> dict[str, str]:
    """Plain text by language, "" where none is stated, of a value of `extmetadata`: HTML, or HTML by language.

    For `iiextmetadatamultilang` the API gives a mapping with further keys ("_type") among the languages.
    """
    if not isinstance(value, Mapping):
        value = {"": value}
    texts = {
        tidy_text(str(key))[:20]: plain_text(str(html)) for key, html in value.items() if not str(key).startswith("_")
    }
    return {language: text for language, text in texts.items() if text}


def one_line(value: Any) -> str:
    """Plain text of a value of `extmetadata`: the English one, else the first."""
    texts = in_languages(value)
    return texts.get("en") or next(iter(texts.values()), "")


class _Reader(HTMLParser):
    """Collects the visible text of HTML."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden = ""  # tag of the hidden part that is being read
        self._depth = 0  # open tags of that name inside it

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        style = re.sub(r"\s", "", dict(attrs).get("style") or "").lower()
        if self._hidden:
            self._depth += tag == self._hidden
        elif tag in HIDDEN_TAGS or ("display:none" in style and tag not in VOID_TAGS):
            self._hidden, self._depth = tag, 1
        elif tag in BREAK_TAGS:
            self.parts.append(" ")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in BREAK_TAGS:
            self.parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if self._hidden and tag == self._hidden:
            self._depth -= 1
            self._hidden = self._hidden if self._depth else ""
        elif tag in BREAK_TAGS:
            self.parts.append(" ")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)
