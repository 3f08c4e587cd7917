"""Batches of photos and label texts for contrastive learning, and batches of photos to score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningDataModule
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from halonerf.data.labels.photo_labels import PhotoLabel, interleave, label_table, related_labels
from halonerf.data.labels.words import plural
from halonerf.data.photo_io import read_photo


@dataclass(frozen=True)
class PairAugmentation:
    """Augmentation of a photo and its text.

    templates: texts with {label}, one of which is drawn. plurals: fraction of the texts with the label in the plural.
    min_crop: sides of the smallest crop, as a fraction of the photo's; 1: whole photos. mirror: mirrors half of them.
    photo_size: px, short side to which larger photos are downsized.
    """

    templates: Sequence[str]
    plurals: float
    min_crop: float
    mirror: bool
    photo_size: int


class LabelBatches(Sequence):
    """Batch i, a function of seed and i; every `steps` of them contain each row once, with the landmarks mixed.

    A batch has `images`, B photos [3, h, w] in [0, 1] of any sizes; `texts`, one per photo; `positive` and `related`,
    bool [B, B], photo by text: the text names a label of the photo; it names a label related to one of the photo's
    (`related_labels`), but none of them; `weight` [B], the labels' confidences.

    Args:
        rows: photos with labels. same: each label's representative (`merge_labels`).
        batch: maximum number of rows per batch; an epoch is divided evenly.
        epochs: number of epochs to provide batches for.
    """

    def __init__(
        self,
        rows: Sequence[PhotoLabel],
        same: Mapping[str, str],
        batch: int,
        augmentation: PairAugmentation,
        epochs: int,
        seed: int,
    ) -> None:
        self.rows, self.augmentation, self.epochs, self.seed = list(rows), augmentation, epochs, seed
        self.steps = -(-len(self.rows) // batch)
        photos, labels, self.positive = label_table(self.rows, same)
        self.photo = np.array([photos[row.photo] for row in self.rows])
        self.label = np.array([labels[same[row.label]] for row in self.rows])
        self.related = (self.positive.astype(int) @ related_labels(list(labels)).astype(int) > 0) & ~self.positive

    def __len__(self) -> int:
        return self.steps * self.epochs

    def __getitem__(self, index: int) -> dict[str, Any]:  # type: ignore[override]
        epoch, step = divmod(index, self.steps)
        order = interleave([row.landmark for row in self.rows], np.random.default_rng((self.seed, epoch)))
        picks = np.array_split(order, self.steps)[step]
        random = np.random.default_rng((self.seed, epoch, step))
        pairs = (self.photo[picks][:, None], self.label[picks])
        return {
            "images": [self._image(self.rows[pick].photo, random) for pick in picks],
            "texts": [self._text(self.rows[pick].label, random) for pick in picks],
            "positive": torch.from_numpy(self.positive[pairs]),
            "related": torch.from_numpy(self.related[pairs]),
            "weight": torch.tensor([self.rows[pick].confidence for pick in picks]),
        }

    def _image(self, photo: Path, random: np.random.Generator) -> Tensor:
        share = random.uniform(self.augmentation.min_crop, 1.0)
        left, top = random.uniform(0, 1 - share, 2)
        image = load_image(photo, self.augmentation.photo_size, (left, top, left + share, top + share))
        return image.flip(-1) if self.augmentation.mirror and random.random() < 0.5 else image

    def _text(self, label: str, random: np.random.Generator) -> str:
        template = self.augmentation.templates[int(random.integers(len(self.augmentation.templates)))]
        return template.replace("{label}", plural(label) if random.random() < self.augmentation.plurals else label)


class PhotoBatches(Sequence):
    """Lists of `batch` photos [3, h, w] in [0, 1], in order; photo_size: px, short side to which they are downsized."""

    def __init__(self, photos: Sequence[Path], batch: int, photo_size: int) -> None:
        self.parts = [photos[start : start + batch] for start in range(0, len(photos), batch)]
        self.photo_size = photo_size

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: int) -> list[Tensor]:  # type: ignore[override]
        return [load_image(photo, self.photo_size) for photo in self.parts[index]]


class LabelData(LightningDataModule):
    """Training batches in their order, epoch after epoch, and the photos to score as validation data.

    Args:
        workers: processes that load photos; 0: the training process does.
    """

    def __init__(self, batches: LabelBatches, scored: PhotoBatches, workers: int = 0) -> None:
        super().__init__()
        self.batches, self.scored, self.workers = batches, scored, workers

    def train_dataloader(self) -> DataLoader:
        # a resumed fit loads its first batches before the sampler's epoch is set (Lightning 2.6)
        progress: Any = self.trainer.fit_loop.epoch_progress.current if self.trainer else None
        done = progress.processed if progress else 0
        return DataLoader(
            self.batches,  # type: ignore[arg-type]
            batch_size=None,
            sampler=SequentialEpochs(self.batches.steps, done),
            num_workers=self.workers,
        )

    def val_dataloader(self) -> Any:
        if not len(self.scored):
            return []
        return DataLoader(
            self.scored,  # type: ignore[arg-type]
            batch_size=None,
            shuffle=False,
            num_workers=self.workers,
        )


class SequentialEpochs(Sampler[int]):
    """`steps` consecutive indices per epoch, continuing from the epoch before; Lightning sets the epoch."""

    def __init__(self, steps: int, epoch: int = 0) -> None:
        self.steps, self.epoch = steps, epoch

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[int]:
        yield from range(self.epoch * self.steps, (self.epoch + 1) * self.steps)


def load_image(photo: Path, short_side: int, part: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)) -> Tensor:
    """Part of an upright photo, [3, h, w] in [0, 1], downsized to a short side of `short_side` px where it is larger.

    part: left, top, right and bottom as fractions of the photo's sides.
    """
    image = Image.fromarray(read_photo(photo))
    box = tuple(round(share * side) for share, side in zip(part, image.size * 2, strict=True))
    left, top = min(box[0], image.width - 1), min(box[1], image.height - 1)
    box = (left, top, max(box[2], left + 1), max(box[3], top + 1))
    width, height = box[2] - box[0], box[3] - box[1]
    scale = min(1.0, short_side / min(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    pixels = np.array(image.resize(size, Image.Resampling.BICUBIC, box=box))
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
