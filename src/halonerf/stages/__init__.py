"""The stages of the pipeline; each reads the artifacts of others and writes its own. `specs` has the graph."""

from halonerf.exports import lazy_exports
from halonerf.stages.specs import SPECS

_HOMES = {name: spec.name for name, spec in SPECS.items()}  # a stage's class lies in the module of the stage's name
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
