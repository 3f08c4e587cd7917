"""What every stage is: a Lightning module that reads finished folders and fills one of its own.

A stage that learns implements `training_step` and is fitted; its Lightning checkpoints make it resumable. A stage
that does not learn lists its work as `items`, does one in each `predict_step`, and says which are `done` already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import numpy as np
from lightning import LightningDataModule, LightningModule

from halonerf.pipeline.datamodule import WorkData


class StageSource(NamedTuple):
    """What a stage reads of another scene, or of its own made another way."""

    scene: Mapping[str, Any] | None  # the scene's config; None: its own
    stages: tuple[str, ...]
    overrides: Mapping[str, Any] = MappingProxyType({})  # other options, see `halonerf.pipeline.overrides`


class Stage(LightningModule):
    """One word of the road.

    The constructor takes only options (it is called to print a plan, too); files are opened and components built in
    `prepare`, once `bind` has said where things are.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1  # raise it when the same options give another output
    needs: ClassVar[tuple[str, ...]] = ()  # the stages whose folders it reads
    trainable: ClassVar[bool] = False
    interactive: ClassVar[bool] = False  # it serves people until they have done (`serve`), and is never finished
    mixed_precision: ClassVar[bool] = (
        False  # whether it may work in the trainer's `precision`; others work in single precision
    )
    seeded: ClassVar[bool] = False  # whether `seed` changes its output; a stage that learns is seeded
    # options that came later, each with the value at which it changes nothing: artifacts from before it stay good
    compatible_defaults: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    folder: Path
    inputs: dict[str, Path]
    seed: int
    max_epochs: int = 1  # of a stage that learns; a checkpoint is written after each
    threads: int = 0  # PyTorch's, while it works; 0: as many as PyTorch likes

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.seeded = cls.seeded or cls.trainable

    @classmethod
    def requires(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        """The stages of its own scene that it reads when it has these options; `needs`, unless the options decide."""
        return cls.needs

    @classmethod
    def sources(cls, config: Mapping[str, Any]) -> dict[str, StageSource]:
        """What it reads of other scenes, or of roads with other options, by name.

        Their folders are `inputs["<name>/<stage>"]`. A stage that reads nothing of its own scene is kept under its
        own name, whatever the scene: it belongs to none.
        """
        return {}

    @classmethod
    def owner(cls, config: Mapping[str, Any]) -> str | None:
        """Name of what its output belongs to, where that is not the scene; None: the scene, or the stage itself."""
        return None

    def bind(self, folder: Path, inputs: dict[str, Path], seed: int) -> None:
        """folder: where to write. inputs: the finished folder of every stage that it reads."""
        self.folder, self.inputs, self.seed = folder, inputs, seed

    def prepare(self) -> None:
        """Open the inputs and build the components. Called once, before `items` or `datamodule`."""

    def items(self) -> Sequence[Any]:
        """The work of a stage that does not learn, one entry a `predict_step`; the same list on every run."""
        raise AssertionError(f"{type(self).__name__} must define items()")

    def done(self, item: Any) -> bool:
        """Whether an earlier, killed run finished this item. Its file must have been written atomically."""
        return False

    def predict_step(self, item: Any, index: int) -> None:
        raise AssertionError(f"{type(self).__name__} must define predict_step()")

    def datamodule(self) -> LightningDataModule:
        """What the trainer feeds the stage."""
        return WorkData([item for item in self.items() if not self.done(item)])

    def serve(self) -> None:
        """What an interactive stage does, in place of items: be there for people until they have done."""
        raise AssertionError(f"{type(self).__name__} must define serve()")

    def finish(self) -> None:
        """Write what remains to be written, once all work is done."""

    def pictures(self) -> dict[str, np.ndarray]:
        """Pictures for the loggers, uint8 [H, W, 3], by name: after each epoch of a fit, and once at the end."""
        return {}

    def summary(self) -> dict[str, Any]:
        """A few figures for the manifest and the report. JSON types only."""
        return {}
