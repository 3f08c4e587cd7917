"""The framework: what a stage is, the plan of a run with its fingerprints, running it, data modules, optimisers."""

from halonerf.exports import lazy_exports

_HOMES = {
    "Stage": "stage",
    "StageSource": "spec",
    "StageSpec": "spec",
    "WorkData": "datamodule",
    "adamw": "optim",
    "declaration": "declarations",
    "merge_overrides": "overrides",
    "plain": "plan",
    "resolve": "plan",
    "run_plan": "run",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
