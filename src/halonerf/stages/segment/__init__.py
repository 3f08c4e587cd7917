"""Stage `segment`: photos + concepts -> 2D probability maps, and which photos to trust."""

from halonerf.exports import lazy_exports

_HOMES = {
    "Segment": "stage",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
