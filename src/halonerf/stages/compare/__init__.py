"""Stage `compare`: scenes, methods and protocols in one table."""

from halonerf.exports import lazy_exports

_HOMES = {
    "Compare": "stage",
    "RunGrid": "runs",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
