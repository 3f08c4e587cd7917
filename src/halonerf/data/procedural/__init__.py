"""Procedural landmarks: buildings, light, crowds and cameras with exact masks, rendered by Mitsuba."""

from halonerf.exports import lazy_exports

_HOMES = {
    "ProceduralLandmark": "landmark",
    "close_ups": "closeups",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
