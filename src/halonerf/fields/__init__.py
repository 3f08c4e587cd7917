"""Radiance fields for photos in the wild."""

from halonerf.exports import lazy_exports

_HOMES = {
    "Gaussians": "gaussians.field",
    "HaNerf": "ha_nerf.field",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
