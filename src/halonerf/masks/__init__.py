"""Ground-truth masks: folders of them, their pictures, and the spellings of concepts."""

from halonerf.exports import lazy_exports

_HOMES = {
    "ENDINGS": "folder",
    "MaskFolder": "folder",
    "concept_key": "folder",
    "match_concepts": "folder",
    "framed_mask": "pictures",
    "read_mask": "pictures",
    "resized_mask": "pictures",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
