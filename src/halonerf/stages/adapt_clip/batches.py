"""Batches of photos and texts that name what they show, for contrastive learning, and plain ones of photos to score."""

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
class Draws:
    """How a row's photo and text are varied.

    templates: texts with {label}, one of which is drawn. plurals: share of the texts that have the label in the plural.
    smallest: sides of the smallest crop, as a share of the photo's; 1 takes whole photos. mirror: half of the photos.
    photo_size: px, short side to which larger photos are shrunk.
    """

    templates: Sequence[str]
    plurals: float
    smallest: float
    mirror: bool
    photo_size: int


class LabelBatches(Sequence):
    """Batch i, drawn from seed and i alone; every `steps` of them show each row once, landmarks mixed.

    A batch holds `images`, B photos [3, h, w] in [0, 1] of their own sizes; `texts`, one a photo; `shows` and `related_labels`,
    bool [B, B], photo by text: the text names a label of the photo; the text names kin of a label of the photo, and
    none of its labels; `weight` [B], the rows' confidences.

    Args:
        rows: what is drawn from. same: each label's representative (`merge_labels`).
        batch: rows a batch, at most; an epoch is divided evenly.
        epochs: how many there are batches for.
    """

    def __init__(
        self,
        rows: Sequence[PhotoLabel],
        same: Mapping[str, str],
        batch: int,
        draws: Draws,
        epochs: int,
        seed: int,
    ) -> None:
        self.rows, self.draws, self.epochs, self.seed = list(rows), draws, epochs, seed
        self.steps = -(-len(self.rows) // batch)
        photos, labels, self.shows = label_table(self.rows, same)
        self.photo = np.array([photos[row.photo] for row in self.rows])
        self.label = np.array([labels[same[row.label]] for row in self.rows])
        self.kin = (self.shows.astype(int) @ related_labels(list(labels)).astype(int) > 0) & ~self.shows

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
            "shows": torch.from_numpy(self.shows[pairs]),
            "kin": torch.from_numpy(self.kin[pairs]),
            "weight": torch.tensor([self.rows[pick].confidence for pick in picks]),
        }

    def _image(self, photo: Path, random: np.random.Generator) -> Tensor:
        share = random.uniform(self.draws.smallest, 1.0)
        left, top = random.uniform(0, 1 - share, 2)
        image = load_image(photo, self.draws.photo_size, (left, top, left + share, top + share))
        return image.flip(-1) if self.draws.mirror and random.random() < 0.5 else image

    def _text(self, label: str, random: np.random.Generator) -> str:
        template = self.draws.templates[int(random.integers(len(self.draws.templates)))]
        return template.replace("{label}", plural(label) if random.random() < self.draws.plurals else label)


class PhotoBatches(Sequence):
    """`photos` in their order, `batch` at a time: lists of [3, h, w] in [0, 1], larger ones shrunk to `photo_size`."""

    def __init__(self, photos: Sequence[Path], batch: int, photo_size: int) -> None:
        self.parts = [photos[start : start + batch] for start in range(0, len(photos), batch)]
        self.photo_size = photo_size

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: int) -> list[Tensor]:  # type: ignore[override]
        return [load_image(photo, self.photo_size) for photo in self.parts[index]]


class LabelData(LightningDataModule):
    """Feeds `batches` in their order, an epoch's after another's, and after each epoch `scored`.

    Args:
        workers: processes that read photos ahead; 0 reads in the training process.
    """

    def __init__(self, batches: LabelBatches, scored: PhotoBatches, workers: int = 0) -> None:
        super().__init__()
        self.batches, self.scored, self.workers = batches, scored, workers

    def train_dataloader(self) -> DataLoader:
        # a resumed fit has its first batches read before it says which epoch it is in (Lightning 2.6)
        progress: Any = self.trainer.fit_loop.epoch_progress.current if self.trainer else None
        done = progress.processed if progress else 0
        return DataLoader(
            self.batches,  # type: ignore[arg-type]
            batch_size=None,
            sampler=InOrder(self.batches.steps, done),
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


class InOrder(Sampler[int]):
    """`steps` indices an epoch, where the epoch before ended; Lightning says when another epoch starts."""

    def __init__(self, steps: int, epoch: int = 0) -> None:
        self.steps, self.epoch = steps, epoch

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[int]:
        yield from range(self.epoch * self.steps, (self.epoch + 1) * self.steps)


def load_image(photo: Path, short_side: int, part: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)) -> Tensor:
    """[3, h, w] in [0, 1] of a part of an upright photo, shrunk to `short_side` px where it is larger.

    part: left, top, right and bottom as shares of the photo's sides.
    """
    image = Image.fromarray(read_photo(photo))
    box = tuple(round(share * side) for share, side in zip(part, image.size * 2, strict=True))
    left, top = min(box[0], image.width - 1), min(box[1], image.height - 1)
    box = (left, top, max(box[2], left + 1), max(box[3], top + 1))
    width, height = box[2] - box[0], box[3] - box[1]
    shrink = min(1.0, short_side / min(width, height))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    pixels = np.array(image.resize(size, Image.Resampling.BICUBIC, box=box))
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
