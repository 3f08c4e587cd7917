"""Stage `share`: one HTML file to explore a landmark in a browser."""

from halonerf.exports import lazy_exports

_HOMES = {
    "Share": "stage",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
