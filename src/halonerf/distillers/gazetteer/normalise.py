"""Normalisation of labels: case, articles, punctuation, compass directions, and answers that mean "unknown"."""

from __future__ import annotations

import re

MAX_LABEL_CHARS, MAX_EVIDENCE_CHARS = 40, 120

_UNKNOWN = re.compile(
    r"(un(known|specified|clear|determined|identified|certain)|none|null|nil|nothing|n\s*/\s*a|na|und"
    r"|(is|are|it is)? ?not (at all )?"
    r"(specified|mentioned|known|stated|clear|described|given|provided|available|sure)"
    r"|(i|we) (do not|don't|cannot|can't|am not).*|cannot .*"
    r"|(there is |there are )?no (specific |particular |architectural |single )*"
    r"(feature|part|information|label|answer)s?)"
    r"(\b.*)?",
    re.DOTALL,
)
_INSIDE = re.compile(r"\b(is|are|was|not) (unknown|unspecified|specified|mentioned|stated)\b")
_COMPASS = re.compile(
    r"(the\s+)?(((north|south)[\s-]*)?(east|west)(ern(most)?|wards?|side)?|(north|south)(ern(most)?|wards?|side)?)(?![^\W_])[\s-]*"
)
_ARTICLE = re.compile(r"^(the|a|an)\s+")
LEAD_IN = re.compile(r"^(the )?(answer|label|feature|architectural feature|part)( is|:)\s*:?\s*")
EDGE_CHARACTERS = " \t\r\n\"'`“”‘’«».,;:!?*_#-()[]{}"


def is_unknown(text: str) -> bool:
    """Whether an answer means "no label". "undercroft" and "nave" are labels, "unknown saint" is not."""
    plain = " ".join(text.lower().replace("’", "'").strip(EDGE_CHARACTERS).split())
    return not plain or _UNKNOWN.fullmatch(plain) is not None or _INSIDE.search(plain) is not None


def without_compass(label: str) -> str:
    """`label` without leading compass directions ("south-western tower": "tower"); "" where nothing else is left."""
    while True:
        shorter = _COMPASS.sub("", label, count=1) if _COMPASS.match(label) else label
        if shorter == label:
            return label.strip(EDGE_CHARACTERS)
        label = shorter


def clean_label(label: str) -> str:
    """`label` in lower case, printable, without article and edge punctuation, at most `MAX_LABEL_CHARS` characters."""
    plain = "".join(c if c.isprintable() else " " for c in label.lower())
    plain = _ARTICLE.sub("", " ".join(plain.split()).strip(EDGE_CHARACTERS), count=1) if plain else ""
    if len(plain) > MAX_LABEL_CHARS:
        plain = plain[: MAX_LABEL_CHARS + 1].rsplit(" ", 1)[0][:MAX_LABEL_CHARS]
    return plain.strip(EDGE_CHARACTERS)
