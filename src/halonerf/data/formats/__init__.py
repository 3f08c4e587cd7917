"""Artifact formats that several stages share: names of files, writers and readers."""

from halonerf.exports import lazy_exports

_HOMES = {
    "FeatureMaps": "feature_maps",
    "Maps": "probability_maps",
    "Target": "target_maps",
    "map_path": "feature_maps",
    "photo_tensor": "target_maps",
    "read_maps": "probability_maps",
    "read_original": "target_maps",
    "read_targets": "target_maps",
    "read_words": "feature_maps",
    "write_map": "target_maps",
    "write_photo": "target_maps",
    "write_table": "target_maps",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
