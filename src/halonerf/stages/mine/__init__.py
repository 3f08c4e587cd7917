"""Stage `mine`: pairs of a zoomed-in and a zoomed-out photo."""

from halonerf.exports import lazy_exports

_HOMES = {
    "Mine": "stage",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
