"""Checkpoints are whole or absent, and Lightning does not requeue jobs of its own accord."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning.pytorch.plugins.environments import SLURMEnvironment

from halonerf.pipeline.checkpoints import AtomicCheckpoints, trainer_plugins


def test_a_checkpoint_replaces_the_old_one_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    place, writer = tmp_path / "checkpoints/last.ckpt", AtomicCheckpoints()
    writer.save_checkpoint({"step": torch.tensor(1)}, place)

    def half(checkpoint: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", half)
        with pytest.raises(OSError, match="stopped"):
            writer.save_checkpoint({"step": torch.tensor(2)}, place)
    assert writer.load_checkpoint(place, weights_only=True)["step"] == 1
    assert [file.name for file in place.parent.iterdir()] == ["last.ckpt"]


def test_strategies_that_write_checkpoints_themselves_keep_doing_so():
    assert [type(plugin) for plugin in trainer_plugins("ddp_spawn")] == [AtomicCheckpoints]
    assert trainer_plugins("fsdp") == []


def test_on_slurm_nothing_is_requeued_from_the_middle_of_an_epoch(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(SLURMEnvironment, "detect", staticmethod(lambda: True))
    plugins = trainer_plugins("auto")
    assert [plugin.auto_requeue for plugin in plugins if isinstance(plugin, SLURMEnvironment)] == [False]
