"""Wikimedia Commons: collect a category's photos with metadata, licences and attribution."""

from halonerf.exports import lazy_exports

_HOMES = {
    "Commons": "corpus",
    "read_attribution": "attribution",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
