"""What a plan needs to know of a stage: what it reads, and how its options enter its fingerprint.

Nothing here imports what stages compute with, so that a plan of the whole pipeline is made in a moment. A stage is a
`halonerf.pipeline.stage.Stage`, which is a spec, too; the package's own stages have their specs in
`halonerf.stages.specs`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

from halonerf.factory import locate
from halonerf.pipeline.source_code import source_file


class StageSource(NamedTuple):
    """What a stage reads of another scene, or of its own scene made with other options."""

    scene: Mapping[str, Any] | None  # the scene's config; None: its own
    stages: tuple[str, ...]
    overrides: Mapping[str, Any] = MappingProxyType({})  # see `halonerf.pipeline.overrides`


class StageSpec:
    """Name, inputs and option declarations of a stage. The first line of its docstring is shown by `halonerf --help`.

    The lists of options are explained in `halonerf.pipeline.declarations`; literals all of them.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1  # raised when the same options give another output
    needs: ClassVar[tuple[str, ...]] = ()  # the stages whose folders it reads
    trainable: ClassVar[bool] = False  # fitted by `training_step`; otherwise `predict_step` does its items
    interactive: ClassVar[bool] = False  # `serve` blocks until the user quits; the output is never cached
    mixed_precision: ClassVar[bool] = False  # works in the trainer's `precision`; others in single precision
    seeded: ClassVar[bool] = False  # `seed` changes its output; every trainable stage is seeded
    runtime_options: ClassVar[tuple[str, ...]] = ()
    data_options: ClassVar[tuple[str, ...]] = ()
    file_options: ClassVar[tuple[str, ...]] = ()
    compatible_defaults: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.seeded = cls.seeded or cls.trainable

    @classmethod
    def requires(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        """The stages of its own scene that it reads with these options; `needs`, unless the options decide.

        Raises: BadInput for options that can be checked before any stage has run.
        """
        return cls.needs

    @classmethod
    def sources(cls, config: Mapping[str, Any]) -> dict[str, StageSource]:
        """What it reads of other scenes, or of its own scene with other options, by name.

        Their folders are `inputs["<name>/<stage>"]`. A stage that reads nothing of its own scene is kept under its
        own name, whatever the scene.
        """
        return {}

    @classmethod
    def extra_packages(cls, config: Mapping[str, Any]) -> dict[str, str]:
        """Optional packages that these options need, with the extra of each; checked before the first stage runs."""
        return {}

    @classmethod
    def check_inputs(cls, inputs: Mapping[str, Path]) -> None:
        """Check inputs of a stage as soon as they are finished, so that a run ends before it does more in vain.

        Args:
            inputs: folders of those of its inputs that are finished, by name.

        Raises: BadInput where it cannot work with them.
        """

    @classmethod
    def owner(cls, config: Mapping[str, Any]) -> str | None:
        """Name of the folder above its output where that is not the scene's; None: the scene's, or the stage's own."""
        return None

    @classmethod
    def summary_line(cls) -> str:
        """The first line of the docstring."""
        return (cls.__doc__ or "").strip().splitlines()[0]


def spec_of(target: str) -> type[StageSpec]:
    """The spec of the stage class that a `_target_` names.

    It is looked up in `SPECS` (class name to spec) of the module `specs` in the class's package, where there is one;
    otherwise the class itself is imported.

    Raises: BadInput where there is no such class.
    """
    package, _, name = target.rpartition(".")
    if source_file(f"{package}.specs") is not None:
        spec = getattr(import_module(f"{package}.specs"), "SPECS", {}).get(name)
        if spec is not None:
            return spec
    return locate(target)
