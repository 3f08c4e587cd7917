"""Data: photos and metadata in, scenes, pairs, labels and training sets out; every artifact format with its reader and writer."""

from halonerf.exports import lazy_exports

_HOMES = {
    "Collection": "collection",
    "PhotoFacts": "photo_io",
    "pinhole_points": "undistortion",
    "read_photo": "photo_io",
    "relit": "augmentation",
    "undistort": "undistortion",
    "working_size": "undistortion",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
