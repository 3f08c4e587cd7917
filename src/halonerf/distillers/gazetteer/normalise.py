"""What a model said, read as labels: by a JSON schema where it can be held to one, otherwise from plain words."""

from __future__ import annotations

import re

LABEL, EVIDENCE = 40, 120  # most characters of a label and of a quotation

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
_LEAD = re.compile(r"^(the )?(answer|label|feature|architectural feature|part)( is|:)\s*:?\s*")
_EDGES = " \t\r\n\"'`“”‘’«».,;:!?*_#-()[]{}"


def is_unknown(text: str) -> bool:
    """Whether an answer says that there is none. "undercroft" and "nave" are labels, "unknown saint" is none."""
    plain = " ".join(text.lower().replace("’", "'").strip(_EDGES).split())
    return not plain or _UNKNOWN.fullmatch(plain) is not None or _INSIDE.search(plain) is not None


def without_compass(label: str) -> str:
    """`label` without leading directions: "south-western tower" is a tower; "" where nothing else is said."""
    while True:
        shorter = _COMPASS.sub("", label, count=1) if _COMPASS.match(label) else label
        if shorter == label:
            return label.strip(_EDGES)
        label = shorter


def clean_label(label: str) -> str:
    """`label` in lower case, one line, printable, without article and edge punctuation, at most `LABEL` characters."""
    plain = "".join(c if c.isprintable() else " " for c in label.lower())
    plain = _ARTICLE.sub("", " ".join(plain.split()).strip(_EDGES), count=1) if plain else ""
    if len(plain) > LABEL:
        plain = plain[: LABEL + 1].rsplit(" ", 1)[0][:LABEL]
    return plain.strip(_EDGES)
