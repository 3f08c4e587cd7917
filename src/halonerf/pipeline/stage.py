"""The base of every stage: a Lightning module that reads the folders of other stages and writes its own.

A stage that learns implements `training_step` and is fitted; its Lightning checkpoints make it resumable. A stage
that does not learn lists its work as `items`, does one in each `predict_step`, and says which are `done` already.
Both are Lightning modules, so that one trainer config gives every stage its device, precision and progress bar.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning import LightningDataModule, LightningModule

from halonerf.pipeline.datamodule import WorkData
from halonerf.pipeline.spec import StageSpec


class Stage(StageSpec, LightningModule):
    """One step of the pipeline.

    The constructor takes options only and checks them; files are opened and components built in `prepare`, once `bind`
    has said where things are.
    """

    folder: Path
    inputs: dict[str, Path]
    seed: int
    max_epochs: int = 1  # of a stage that learns; a checkpoint is written after each
    threads: int = 0  # PyTorch's, while it works; 0: PyTorch's own choice

    def bind(self, folder: Path, inputs: dict[str, Path], seed: int) -> None:
        """folder: where to write. inputs: the finished folder of every stage that it reads."""
        self.folder, self.inputs, self.seed = folder, inputs, seed

    def prepare(self) -> None:
        """Open the inputs and build the components. Called once, before `items` or `datamodule`."""

    def items(self) -> Sequence[Any]:
        """The work of a stage that does not learn, one entry per `predict_step`; the same list on every run."""
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
        """What an interactive stage does, in place of items: block until the user quits."""
        raise AssertionError(f"{type(self).__name__} must define serve()")

    def finish(self) -> None:
        """Write what remains to be written, once all work is done."""

    def pictures(self) -> dict[str, np.ndarray]:
        """Pictures for the loggers, uint8 [H, W, 3], by name: after each epoch of a fit, and once at the end."""
        return {}

    def summary(self) -> dict[str, Any]:
        """A few figures for the manifest and the report. JSON types only."""
        return {}
