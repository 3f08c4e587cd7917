"""What a segmenter is adapted with: photos, the words that are asked, and what is known of some of their pixels."""

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
from halonerf.errors import BadInput

CERTAIN = 1 / 255  # the last step of eight bits: nothing is surer than that


@dataclass(frozen=True)
class TrainingPhoto:
    """A photo, the labels it is known by, and targets in it."""

    photo: Path
    labels: tuple[str, ...] = ()
    targets: tuple[Target, ...] = ()


def group_targets(targets: Sequence[Target]) -> list[TrainingPhoto]:
    """One study a photo, with all its targets; labelled by those that are positive."""
    photos: dict[Path, list[Target]] = {}
    for target in targets:
        photos.setdefault(target.photo, []).append(target)
    return [
        TrainingPhoto(photo, tuple(dict.fromkeys(t.label for t in found if t.kind == POSITIVE)), tuple(found))
        for photo, found in photos.items()
    ]


class AdaptationBatches(Sequence):
    """Batch i, drawn from seed and i alone.

    photos: list of [3, H, W] in [0, 1]. shown: the same, at times in other light: what the student sees.
    prompts: the words, P; some in the plural. own: bool [B, P], words that the photo is known by.
    evidence, votes: lists of [P, H, W]: the sum of what close-ups say of a pixel, as log-odds, and how many do.
    crops: [N, B, 3]: left and top, as shares of what is left beside the crop, and side, as share of the short side
    (one for all photos of a batch); the first `candidates` are new at every step, the others always the photo's same.

    Args:
        plain: photos without targets. paired: photos with some.
        share: of a batch's photos that have targets, where there are both.
        words: what may be asked besides; prompts: words a batch, at least those its photos are known by.
        plurals: share of the words said in the plural. relight: share of the photos shown in other light.
        size: px, long side that photos are shrunk to. sides: smallest and largest side of a crop.
        candidates, details: crops a photo of either sort.
    """

    def __init__(
        self,
        plain: Sequence[TrainingPhoto],
        paired: Sequence[TrainingPhoto],
        share: float,
        words: Sequence[str],
        prompts: int,
        batch: int,
        plurals: float,
        relight: float,
        size: int,
        sides: tuple[float, float],
        candidates: int,
        details: int,
        batches: int,
        seed: int,
    ) -> None:
        self.plain, self.paired = _by_label(plain), _by_label(paired)
        self.share = share if plain else 1.0
        self.words, self.prompts, self.batch, self.plurals = list(words), prompts, batch, plurals
        self.relight, self.size, self.sides = relight, size, sides
        self.candidates, self.details, self.batches, self.seed = candidates, details, batches, seed

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, index: int) -> dict[str, Any]:  # type: ignore[override]
        random = np.random.default_rng((self.seed, index))
        studies = [self._pick(random) for _ in range(self.batch)]
        words = self._asked(studies, random)
        photos = [photo_tensor(study.photo, self.size) for study in studies]
        known = [_known(study, words, photo) for study, photo in zip(studies, photos, strict=True)]
        return {
            "photos": photos,
            "shown": [relit(photo, random) if random.random() < self.relight else photo for photo in photos],
            "prompts": [plural(word) if random.random() < self.plurals else word for word in words],
            "own": torch.tensor([[word in study.labels for word in words] for study in studies]),
            "evidence": [evidence for evidence, _ in known],
            "votes": [votes for _, votes in known],
            "crops": self._crops(studies, random),
        }

    def _pick(self, random: np.random.Generator) -> TrainingPhoto:
        """A photo of a label that is drawn first, so that rare ones count as much."""
        pool = self.paired if self.paired and random.random() < self.share else self.plain
        studies = pool[sorted(pool)[int(random.integers(len(pool)))]]
        return studies[int(random.integers(len(studies)))]

    def _asked(self, studies: Sequence[TrainingPhoto], random: np.random.Generator) -> list[str]:
        """The labels of the photos, then others, in random order, up to `prompts`."""
        own = list(dict.fromkeys(label for study in studies for label in study.labels))
        named = {target.label for study in studies for target in study.targets} | set(self.words)
        others = [str(word) for word in random.permutation(sorted(named - set(own)))]
        return own + others[: max(0, self.prompts - len(own))]

    def _crops(self, studies: Sequence[TrainingPhoto], random: np.random.Generator) -> Tensor:
        low, high = self.sides
        fresh = random.uniform(size=(self.candidates, len(studies), 3))
        fresh[..., 2] = random.uniform(low, high, size=(self.candidates, 1))
        fixed = np.stack([_of_photo(study.photo).uniform(size=(self.details, 3)) for study in studies], axis=1)
        fixed[..., 2] = (low + high) / 2
        return torch.from_numpy(np.concatenate([fresh, fixed]).astype(np.float32))


def _of_photo(path: Path) -> np.random.Generator:
    """Chance that belongs to a photo: the same at every step, on every machine."""
    return np.random.default_rng(list(path.name.encode()))


def _by_label(studies: Sequence[TrainingPhoto]) -> dict[str, list[TrainingPhoto]]:
    pool: dict[str, list[TrainingPhoto]] = {}
    for study in studies:
        for label in study.labels or ("",):
            pool.setdefault(label, []).append(study)
    return pool


def _known(study: TrainingPhoto, words: Sequence[str], photo: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of the log-odds that the targets give each word, and how many give any, [P, H, W] each."""
    height, width = photo.shape[-2:]
    evidence, votes = torch.zeros(len(words), height, width), torch.zeros(len(words), height, width)
    columns: Mapping[str, int] = {word: column for column, word in enumerate(words)}
    for target in study.targets:
        if target.label in columns:
            probability, region = target.maps(height, width)
            evidence[columns[target.label]] += torch.logit(probability, eps=CERTAIN) * region
            votes[columns[target.label]] += region
    return evidence, votes


def unpaired_photos(
    inputs: Mapping[str, Path], landmarks: Iterable[str], words: Sequence[str] | None, min_confidence: float
) -> list[TrainingPhoto]:
    """Labelled photos of the landmarks, or, where `words` are given, all photos.

    Args:
        inputs: the finished folders, "<landmark>/<stage>"; "<stage>" for the landmark "", the scene itself.
        min_confidence: of a label.
    """
    studies = []
    for landmark in landmarks:
        collection = Collection.read(_folder(inputs, landmark, "collect"))
        labels = labels_by_photo(_folder(inputs, landmark, "distill") / LABELS, min_confidence)
        studies += [
            TrainingPhoto(collection.photos / record.image_id, tuple(labels.get(record.image_id, ())))
            for record in collection.records()
            if record.image_id in labels or words
        ]
    return studies


def read_landmark_targets(inputs: Mapping[str, Path], landmarks: Iterable[str]) -> list[Target]:
    """The targets of the landmarks; `inputs` as in `unpaired_photos`."""
    return [target for landmark in landmarks for target in read_targets(_folder(inputs, landmark, "targets"))]


def read_original_targets(folder: str | None, table: str | None) -> list[Target]:
    """Targets in the layout of the original's publication; none without a folder.

    Raises: BadInput where the folder comes without its table.
    """
    if folder is None:
        return []
    if table is None:
        raise BadInput("expected adapt_segmenter.original_table=CSV beside adapt_segmenter.original=DIR.")
    return read_published_targets(Path(folder).expanduser(), Path(table).expanduser())


def _folder(inputs: Mapping[str, Path], landmark: str, stage: str) -> Path:
    return inputs[f"{landmark}/{stage}" if landmark else stage]
