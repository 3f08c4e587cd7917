"""Checkpoints of fits that are whole or absent, whenever the process ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.environments import SLURMEnvironment
from lightning.pytorch.plugins.io import TorchCheckpointIO

from halonerf.files import atomic_path


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes checkpoints beside their place and renames them.

    Lightning's own are moved from the system's temporary folder: where that is on another disk, they are copied into
    place, and a process that is stopped in the meantime leaves half a checkpoint.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write `checkpoint` to the file `path`; storage_options: not used."""
        place = Path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(place) as temporary:
            torch.save(checkpoint, temporary)


def trainer_plugins(strategy: Any) -> list[Any]:
    """Plugins of `lightning.Trainer`: atomic checkpoints, and on a SLURM cluster no requeuing by Lightning.

    Lightning requeues with a checkpoint from the middle of an epoch, after which the order of the photos is another:
    the job that SLURM itself requeues goes on from the last whole epoch.

    Args:
        strategy: as given to the trainer; those that split a model over devices write checkpoints themselves.
    """
    whole = strategy in (None, "auto") or str(strategy).startswith("ddp")
    plugins: list[Any] = [AtomicCheckpoints()] if whole else []
    return [*plugins, SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else plugins
