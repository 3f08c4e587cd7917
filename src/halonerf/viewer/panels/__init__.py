"""Panels of the viewer's window."""

from halonerf.exports import lazy_exports

_HOMES = {
    "LightPanel": "light",
    "PathPanel": "film",
    "PhotoCameras": "photo_cameras",
    "PhotosPanel": "photos",
    "WordsPanel": "words",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
