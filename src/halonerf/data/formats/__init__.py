"""Artifact formats that several stages share: names of files, writers and readers."""

from halonerf.exports import lazy_exports

_HOMES = {
    "FeatureMaps": "feature_maps",
    "Target": "target_maps",
    "feature_map_path": "feature_maps",
    "photo_tensor": "target_maps",
    "read_concept_weights": "photo_choice",
    "read_concepts": "probability_maps",
    "read_levels": "probability_maps",
    "read_maps": "probability_maps",
    "read_photo_choice": "photo_choice",
    "read_photo_scores": "photo_choice",
    "read_probability": "probability_maps",
    "read_published_targets": "target_maps",
    "read_targets": "target_maps",
    "read_text_embeddings": "feature_maps",
    "render_path": "probability_maps",
    "segment_map_path": "probability_maps",
    "view_file": "names",
    "write_concept_weights": "photo_choice",
    "write_maps": "probability_maps",
    "write_photo_choice": "photo_choice",
    "write_target_map": "target_maps",
    "write_target_photo": "target_maps",
    "write_targets": "target_maps",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
