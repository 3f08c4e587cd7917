"""Mentions of architectural parts in text, by a multilingual vocabulary."""

from halonerf.exports import lazy_exports

_HOMES = {
    "Mention": "mentions",
    "Merging": "merging",
    "Vocabulary": "vocabulary",
    "clean": "mentions",
    "clean_label": "normalise",
    "find_mentions": "mentions",
    "is_unknown": "normalise",
    "without_compass": "normalise",
    "word_forms": "inflection",
    "words": "inflection",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
