"""Transient models: which pixels of a photo show passers-by and not the landmark."""

from halonerf.exports import lazy_exports

_HOMES = {
    "MaskNetwork": "network",
    "NoMask": "none",
    "ResidualMask": "residual",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
