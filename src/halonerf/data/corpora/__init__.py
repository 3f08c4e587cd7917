"""Corpora: tables of image metadata without photos, for distilling labels."""

from halonerf.exports import lazy_exports

_HOMES = {
    "OriginalCsv": "table",
    "Table": "table",
    "WikiScenes": "wikiscenes",
    "WikiScenesText": "wikiscenes_text",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
