"""Training data of segmenter adaptation: photos with labels and pseudo-label targets, prompts, crops."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from halonerf.data.augmentation import relit
from halonerf.data.collection import Collection
from halonerf.data.formats.names import LABELS
from halonerf.data.formats.target_maps import POSITIVE, Target, photo_tensor, read_published_targets, read_targets
from halonerf.data.labels.table import labels_by_photo
from halonerf.data.labels.words import plural
from halonerf.data.scene.scene import held_out_photos
from halonerf.errors import BadInput

MIN_PROBABILITY = 1 / 255  # of a target's pixel: one step of eight bits, so that log-odds stay finite


@dataclass(frozen=True)
class TrainingPhoto:
    """A photo, its labels, and its targets."""

    photo: Path
    labels: tuple[str, ...] = ()
    targets: tuple[Target, ...] = ()


def group_targets(targets: Sequence[Target]) -> list[TrainingPhoto]:
    """One `TrainingPhoto` per photo with all its targets; its labels are those of positive targets."""
    photos: dict[Path, list[Target]] = {}
    for target in targets:
        photos.setdefault(target.photo, []).append(target)
    return [
        TrainingPhoto(photo, tuple(dict.fromkeys(t.label for t in found if t.kind == POSITIVE)), tuple(found))
        for photo, found in photos.items()
    ]


class AdaptationBatches(Sequence):
    """Batch i, a function of seed and i.

    photos: list of [3, H, W] in [0, 1]. augmented: the same, some with augmented lighting: the student's input.
    prompts: P words, some in the plural. own: bool [B, P], words that are labels of the photo.
    evidence, votes: lists of [P, H, W]: sum of the close-ups' log-odds of a pixel, and number of close-ups.
    crops: [N, B, 3]: left and top, as fractions of the room beside the crop, and side, as a fraction of the short side
    (the same for all photos of a batch); the first `candidates` are new at every step, the others fixed per photo.

    Args:
        unpaired: photos without targets. paired: photos with targets.
        target_share: fraction of a batch's photos that have targets, where there are both kinds.
        words: further prompts. prompts: number of words per batch, at least the labels of its photos.
        plurals: fraction of the words in the plural. relight: fraction of the photos with augmented lighting.
        size: px, long side that photos are downsized to. crop_sides: smallest and largest side of a crop.
        candidates, details: number of random and of fixed crops per photo.
        batches: their number.
    """

    def __init__(
        self,
        unpaired: Sequence[TrainingPhoto],
        paired: Sequence[TrainingPhoto],
        target_share: float,
        words: Sequence[str],
        prompts: int,
        batch: int,
        plurals: float,
        relight: float,
        size: int,
        crop_sides: tuple[float, float],
        candidates: int,
        details: int,
        batches: int,
        seed: int,
    ) -> None:
        self.unpaired, self.paired = _by_label(unpaired), _by_label(paired)
        self.target_share = target_share if unpaired else 1.0
        self.words, self.prompts, self.batch, self.plurals = list(words), prompts, batch, plurals
        self.relight, self.size, self.crop_sides = relight, size, crop_sides
        self.candidates, self.details, self.batches, self.seed = candidates, details, batches, seed

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, index: int) -> dict[str, Any]:  # type: ignore[override]
        random = np.random.default_rng((self.seed, index))
        samples = [self._draw_photo(random) for _ in range(self.batch)]
        words = self._draw_words(samples, random)
        photos = [photo_tensor(sample.photo, self.size) for sample in samples]
        targets = [_target_sums(sample, words, photo) for sample, photo in zip(samples, photos, strict=True)]
        return {
            "photos": photos,
            "augmented": [relit(photo, random) if random.random() < self.relight else photo for photo in photos],
            "prompts": [plural(word) if random.random() < self.plurals else word for word in words],
            "own": torch.tensor([[word in sample.labels for word in words] for sample in samples]),
            "evidence": [evidence for evidence, _ in targets],
            "votes": [votes for _, votes in targets],
            "crops": self._draw_crops(samples, random),
        }

    def _draw_photo(self, random: np.random.Generator) -> TrainingPhoto:
        """A photo of a label that is drawn first, so that rare labels are as frequent."""
        pool = self.paired if self.paired and random.random() < self.target_share else self.unpaired
        photos = pool[sorted(pool)[int(random.integers(len(pool)))]]
        return photos[int(random.integers(len(photos)))]

    def _draw_words(self, samples: Sequence[TrainingPhoto], random: np.random.Generator) -> list[str]:
        """The labels of the photos, then further words in random order, up to `prompts`."""
        own = list(dict.fromkeys(label for sample in samples for label in sample.labels))
        named = {target.label for sample in samples for target in sample.targets} | set(self.words)
        others = [str(word) for word in random.permutation(sorted(named - set(own)))]
        return own + others[: max(0, self.prompts - len(own))]

    def _draw_crops(self, samples: Sequence[TrainingPhoto], random: np.random.Generator) -> Tensor:
        low, high = self.crop_sides
        fresh = random.uniform(size=(self.candidates, len(samples), 3))
        fresh[..., 2] = random.uniform(low, high, size=(self.candidates, 1))
        fixed = np.stack([_photo_generator(sample.photo).uniform(size=(self.details, 3)) for sample in samples], axis=1)
        fixed[..., 2] = (low + high) / 2
        return torch.from_numpy(np.concatenate([fresh, fixed]).astype(np.float32))


def _photo_generator(path: Path) -> np.random.Generator:
    """Random generator seeded by a photo's name: the same at every step, on every machine."""
    return np.random.default_rng(list(path.name.encode()))


def _by_label(photos: Sequence[TrainingPhoto]) -> dict[str, list[TrainingPhoto]]:
    pool: dict[str, list[TrainingPhoto]] = {}
    for photo in photos:
        for label in photo.labels or ("",):
            pool.setdefault(label, []).append(photo)
    return pool


def _target_sums(sample: TrainingPhoto, words: Sequence[str], photo: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of the targets' log-odds for each word, and number of targets, [P, H, W] each; photo: [3, H, W]."""
    height, width = photo.shape[-2:]
    evidence, votes = torch.zeros(len(words), height, width), torch.zeros(len(words), height, width)
    columns: Mapping[str, int] = {word: column for column, word in enumerate(words)}
    for target in sample.targets:
        if target.label in columns:
            probability, region = target.maps(height, width)
            evidence[columns[target.label]] += torch.logit(probability, eps=MIN_PROBABILITY) * region
            votes[columns[target.label]] += region
    return evidence, votes


def unpaired_photos(
    inputs: Mapping[str, Path], landmarks: Iterable[str], words: Sequence[str] | None, min_confidence: float
) -> list[TrainingPhoto]:
    """Labelled photos of the landmarks, or all photos where `words` are given; without targets.

    Photos that a landmark's `ingest` holds out are left out, where its folder is among the inputs.

    Args:
        inputs: the finished folders, "<landmark>/<stage>"; "<stage>" for the landmark "", the scene itself.
        min_confidence: in [0, 1]; labels of lower confidence are dropped.
    """
    photos = []
    for landmark in landmarks:
        collection = Collection.read(_folder(inputs, landmark, "collect"))
        labels = labels_by_photo(_folder(inputs, landmark, "distill") / LABELS, min_confidence)
        ingest = inputs.get(f"{landmark}/ingest" if landmark else "ingest")
        aside = held_out_photos(ingest) if ingest else frozenset()
        photos += [
            TrainingPhoto(collection.photos / record.image_id, tuple(labels.get(record.image_id, ())))
            for record in collection.records()
            if (record.image_id in labels or words) and record.image_id not in aside
        ]
    return photos


def read_landmark_targets(inputs: Mapping[str, Path], landmarks: Iterable[str]) -> list[Target]:
    """The targets of the landmarks; `inputs` as in `unpaired_photos`."""
    return [target for landmark in landmarks for target in read_targets(_folder(inputs, landmark, "targets"))]


def read_original_targets(folder: str | None, table: str | None) -> list[Target]:
    """Targets in the original's published layout; none without a folder.

    Raises: BadInput where a folder is given without its table.
    """
    if folder is None:
        return []
    if table is None:
        raise BadInput("expected adapt_segmenter.original_table=CSV beside adapt_segmenter.original=DIR.")
    return read_published_targets(Path(folder).expanduser(), Path(table).expanduser())


def _folder(inputs: Mapping[str, Path], landmark: str, stage: str) -> Path:
    return inputs[f"{landmark}/{stage}" if landmark else stage]
