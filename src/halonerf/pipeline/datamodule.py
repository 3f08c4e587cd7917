"""The shared datamodule: work for stages that predict, scheduled photos for stages that learn."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Sampler


class WorkData(LightningDataModule):
    """Feeds items one at a time, unbatched: to `predict` in their order, to `fit` in seeded random order.

    Args:
        items: anything indexable with a length; an item may be read from disk when it is asked for.
        epoch_steps: training steps an epoch, whatever the number of items; checkpoints fall between epochs.
        seed: order of training. The order depends on seed and epoch alone, so that a resumed fit sees the same.
        workers: processes that read ahead during fits; 0 reads in the training process.
    """

    def __init__(self, items: Sequence[Any], epoch_steps: int | None = None, seed: int = 0, workers: int = 0) -> None:
        super().__init__()
        self.items, self.epoch_steps, self.seed, self.workers = items, epoch_steps, seed, workers

    def predict_dataloader(self) -> DataLoader:
        return DataLoader(_Indexed(self.items), batch_size=None, shuffle=False)

    def train_dataloader(self) -> DataLoader:
        sampler = EpochSampler(len(self.items), self.epoch_steps or len(self.items), self.seed)
        if self.trainer is not None:  # workers of a resumed fit read ahead before anybody says which epoch it is
            progress: Any = self.trainer.fit_loop.epoch_progress.current
            sampler.set_epoch(progress.processed)
        # by name: a sweep's processes have another way of starting theirs, which cannot
        context = "fork" if self.workers and sys.platform == "linux" else None
        return DataLoader(
            _Indexed(self.items),
            batch_size=None,
            sampler=sampler,
            num_workers=self.workers,
            multiprocessing_context=context,
        )


class EpochSampler(Sampler[int]):
    """`steps` indices below `count` an epoch: shuffled passes over all items, continued from epoch to epoch."""

    def __init__(self, count: int, steps: int, seed: int) -> None:
        self.count, self.steps, self.seed, self.epoch = count, steps, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this at the start of every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[int]:
        start = self.epoch * self.steps
        pass_index, order = -1, torch.empty(0, dtype=torch.long)
        for step in range(start, start + self.steps):
            if step // self.count != pass_index:
                pass_index = step // self.count
                generator = torch.Generator().manual_seed(self.seed * 1_000_003 + pass_index)
                order = torch.randperm(self.count, generator=generator)
            yield int(order[step % self.count])


class _Indexed(Dataset):
    """A sequence as a map-style dataset."""

    def __init__(self, items: Sequence[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]
