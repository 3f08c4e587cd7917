"""The web viewer: a FastAPI application that serves the page of `halonerf.page` live."""

from halonerf.exports import lazy_exports

_HOMES = {
    "Guard": "guard",
    "LiveScene": "live_scene",
    "Teaching": "teaching",
    "WebViewer": "viewer",
    "make_app": "app",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
