"""Retrievers: photos and texts as vectors of one space."""

from halonerf.exports import lazy_exports

_HOMES = {
    "Clip": "clip",
    "Projected": "projected",
    "Pyramid": "pyramid",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
