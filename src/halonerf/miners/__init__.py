"""Correspondence miners: matching points of two photos."""

from halonerf.exports import lazy_exports

_HOMES = {
    "Aliked": "aliked",
    "DiskLightGlue": "disk_lightglue",
    "Loftr": "loftr",
    "SfmTracks": "sfm_tracks",
    "Sift": "sift",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
