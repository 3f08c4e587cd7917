"""Photos and metadata in; scenes, pairs, labels, training sets out; artifact formats with their readers and writers."""

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
