"""Training data for segmenters: photos with masks of named parts."""

from halonerf.exports import lazy_exports

_HOMES = {
    "MaskedSample": "procedural",
    "SampleBatches": "batches",
    "SegmentationDataset": "procedural",
    "MaskedPhotos": "masked_photos",
    "ProceduralDataset": "procedural",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
