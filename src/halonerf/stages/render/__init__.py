"""Stage `render`: pictures of every view, or a film along a path."""

from halonerf.exports import lazy_exports

_HOMES = {
    "Render": "stage",
    "path_texts": "film_path",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
