"""Pairs of a zoomed-in and a zoomed-out photo: candidates, two-view geometry, dense warps."""

from halonerf.exports import lazy_exports

_HOMES = {
    "by_appearance": "proposals",
    "by_tracks": "proposals",
    "carry": "zoom",
    "fit_warp": "warp",
    "projected_outline": "zoom",
    "scale_ratio": "zoom",
    "union": "proposals",
    "verify_zoom": "zoom",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
