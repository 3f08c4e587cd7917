"""The viewer: a landmark in a browser window."""

from halonerf.exports import lazy_exports

_HOMES = {
    "WebViewer": "web.viewer",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
