"""Training data for segmenters: photos with masks of named parts."""

from halonerf.exports import lazy_exports

_HOMES = {
    "MaskedPhotos": "masked_photos",
    "MaskedSample": "procedural",
    "ProceduralDataset": "procedural",
    "SampleBatches": "batches",
    "SegmentationDataset": "procedural",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
