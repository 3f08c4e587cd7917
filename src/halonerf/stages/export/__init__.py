"""Stage `export`: field, semantics and cameras in formats of other programs."""

from halonerf.exports import lazy_exports

_HOMES = {
    "Export": "stage",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
