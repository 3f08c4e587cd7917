"""Densification strategies: how Gaussians are added, moved and pruned during a fit."""

from halonerf.exports import lazy_exports

_HOMES = {
    "BudgetStrategy": "budget",
    "DensificationLimits": "base",
    "McmcStrategy": "mcmc",
    "ParameterRows": "base",
    "ThresholdStrategy": "threshold",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
