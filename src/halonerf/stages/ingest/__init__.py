"""Stage `ingest`: photos -> cameras, points and undistorted images by structure from motion."""

from halonerf.exports import lazy_exports

_HOMES = {
    "Ingest": "stage",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
