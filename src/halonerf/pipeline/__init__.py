"""The framework: what a stage is, the plan of a run, fingerprints, running stages, data modules, optimisers."""

from halonerf.exports import lazy_exports

_HOMES = {
    "StageSource": "stage",
    "Stage": "stage",
    "Step": "plan",
    "WorkData": "datamodule",
    "adamw": "optim",
    "apply_overrides": "overrides",
    "describe": "plan",
    "make_plan": "plan",
    "merge_overrides": "overrides",
    "run_step": "run",
    "serve_step": "run",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
