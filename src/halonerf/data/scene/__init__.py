"""The scene: posed, undistorted photos with sparse points, as stage `ingest` writes it."""

from halonerf.exports import lazy_exports

_HOMES = {
    "Filters": "files",
    "PosedPhoto": "files",
    "Scene": "scene",
    "held_out_photos": "scene",
    "layout": "files",
    "posed_photos": "files",
    "write_tables": "files",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
