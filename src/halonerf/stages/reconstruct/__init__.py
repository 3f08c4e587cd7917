"""Stage `reconstruct`: photos -> a radiance field, with camera refinement and held-out scores."""

from halonerf.exports import lazy_exports

_HOMES = {
    "Reconstruct": "stage",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
