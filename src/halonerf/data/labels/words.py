"""Normal form and English plural of labels."""

from __future__ import annotations

import unicodedata


def plural(word: str) -> str:
    """Regular English plural of a word: tower -> towers, gallery -> galleries, arch -> arches."""
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    return word[:-1] + "ies" if word.endswith("y") and word[-2:-1] not in "aeiou" else word + "s"


def normalise_label(label: str) -> str:
    """A label in lower case, with composed letters and single spaces."""
    return " ".join(unicodedata.normalize("NFKC", label).casefold().split())
