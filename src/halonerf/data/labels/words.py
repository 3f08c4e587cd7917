"""What a text segmenter is taught with: batches of crops of photos, words, and where the words are.

The masks must be complete: a photo without a mask of a concept does not show it. (People's masks are not like that.)
"""

from __future__ import annotations

import unicodedata


def plural(word: str) -> str:
    """The regular English plural: tower -> towers, gallery -> galleries, arch -> arches."""
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    return word[:-1] + "ies" if word.endswith("y") and word[-2:-1] not in "aeiou" else word + "s"


def normalise_label(label: str) -> str:
    """Lower case, composed letters, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", label).casefold().split())
