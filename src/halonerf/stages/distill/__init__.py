"""Stage `distill`: metadata -> labels, in this process or on a Ray cluster."""

from halonerf.exports import lazy_exports

_HOMES = {
    "Distill": "stage",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
