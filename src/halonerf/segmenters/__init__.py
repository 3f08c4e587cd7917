"""Text-prompted segmenters: photo + text -> probability map; and SAM: photo + points -> mask."""

from halonerf.exports import lazy_exports

_HOMES = {
    "Annotations": "annotations",
    "ClipSeg": "clipseg",
    "GroundedSam": "grounded_sam",
    "Masks": "masks",
    "Sam": "sam",
    "Sam3": "sam3",
    "TimmText": "timm_text",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
