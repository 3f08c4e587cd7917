"""Gaussian splatting: one differentiable `rasterise` and its adjoint `lift`, with several engines."""

from halonerf.exports import lazy_exports

_HOMES = {
    "PhotometricFunction": "similarity",
    "compiled": "compiled",
    "lift": "rasterise",
    "rasterise": "rasterise",
    "slope_limits": "constants",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
