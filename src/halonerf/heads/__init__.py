"""Semantic heads: 2D probability maps -> probabilities per element of a field."""

from halonerf.exports import lazy_exports

_HOMES = {
    "FewShot": "few_shot",
    "Lifted": "lifted",
    "LiftedFeatures": "features",
    "Linear": "linear",
    "Mlp": "mlp",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
