"""Scene sources: where a landmark's photos, metadata, cameras and masks come from."""

from halonerf.exports import lazy_exports

_HOMES = {
    "ColmapFolder": "colmap_folder",
    "HolyScenes": "holyscenes",
    "IndexedMasks": "indexed_masks",
    "PhotoFolder": "photo_folder",
    "pair_masks": "holyscenes",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
