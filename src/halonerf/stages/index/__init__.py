"""Stage `index`: per-photo encodings and lifting tables for text queries."""

from halonerf.exports import lazy_exports

_HOMES = {
    "Index": "stage",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
