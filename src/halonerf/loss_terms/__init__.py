"""Loss terms of a fit: photometric error, depth at scene points, regularisers, and their weighted sum."""

from halonerf.exports import lazy_exports

_HOMES = {
    "FieldRegularisation": "regularisers",
    "MeanOpacity": "regularisers",
    "MeanScale": "regularisers",
    "Photometric": "image_errors",
    "PointDepth": "point_depth",
    "SquaredError": "image_errors",
    "WeightedSum": "weighted_sum",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
