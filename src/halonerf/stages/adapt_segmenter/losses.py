"""The losses that adapt a segmenter, and which parts of it they may change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from halonerf.errors import BadInput
from halonerf.losses import binary_entropy, soft_cross_entropy, weighted_mean
from halonerf.protocols import TrainableSegmenter

LOSSES: Mapping[str, float] = MappingProxyType({"warped": 1.0, "entropy": 0.0, "crop": 0.0, "detail": 0.0})


@dataclass(frozen=True)
class LossWeights:
    """What each loss counts; one of weight 0 is not computed."""

    warped: float
    entropy: float
    crop: float
    detail: float

    @classmethod
    def of(cls, given: Mapping[str, float]) -> LossWeights:
        """The weights in a config; those that it does not name are those of `LOSSES`.

        Raises: BadInput for an unknown loss, a negative weight, or none above 0.
        """
        values = {name: float(given.get(name, usual)) for name, usual in LOSSES.items()}
        if set(given) - set(LOSSES) or min(values.values()) < 0 or max(values.values()) == 0:
            raise BadInput(
                f"expected weights of {', '.join(LOSSES)}, none negative and one above 0, got {dict(given)}.\n"
                "For example: adapt_segmenter.losses.warped=1 adapt_segmenter.losses.crop=0.5"
            )
        return cls(**values)

    def __getitem__(self, name: str) -> float:
        return float(getattr(self, name))


@dataclass(frozen=True)
class PhotoBatch:
    """Photos of one size: see `StudyBatches`, all stacked."""

    photos: Tensor  # [B, 3, H, W]
    shown: Tensor  # [B, 3, H, W]
    own: Tensor  # [B, P]
    evidence: Tensor  # [B, P, H, W]
    votes: Tensor  # [B, P, H, W]
    crops: Tensor  # [N, B, 3]

    def __len__(self) -> int:
        return len(self.photos)


@dataclass(frozen=True)
class CropComparison:
    """A crop of each photo: the teacher's answer at the student's resolution, the student's logits, [B, P, h, w]."""

    crops: Tensor  # [B, 3, h', w']
    target: Tensor
    logits: Tensor


def batches_by_size(batch: Mapping[str, Any]) -> list[PhotoBatch]:
    """The photos of a batch in groups of one size."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for row, photo in enumerate(batch["photos"]):
        groups.setdefault(tuple(photo.shape), []).append(row)
    return [
        PhotoBatch(
            photos=torch.stack([batch["photos"][row] for row in rows]),
            shown=torch.stack([batch["shown"][row] for row in rows]),
            own=batch["own"][rows],
            evidence=torch.stack([batch["evidence"][row] for row in rows]),
            votes=torch.stack([batch["votes"][row] for row in rows]),
            crops=batch["crops"][:, rows],
        )
        for rows in groups.values()
    ]


def target_loss(logits: Tensor, evidence: Tensor, votes: Tensor, whole: Tensor | None, share: float) -> Tensor:
    """Cross-entropy with what close-ups say, where they do (HaLo-NeRF's correspondence loss), or with a consensus.

    A consensus is the mean of log-odds: each close-up counts 1, the teacher's own look at the whole photo `share`. It
    is there for every pixel, and no close-up that misjudges what it cuts off decides alone.

    Args:
        logits: [B, P, h, w]. evidence, votes: [B, P, H, W], averaged over the area of a map's pixel.
        whole: the teacher's logits of the whole photos, [B, P, h, w]; None: close-ups alone.
    """
    size = logits.shape[-2:]
    count = _shrunk(votes, size)
    said = _shrunk(evidence, size)
    if whole is not None:
        target = torch.sigmoid((said + share * whole) / (count + share))
        return soft_cross_entropy(logits, target, torch.ones_like(target))
    target = torch.sigmoid(said / count.clamp(min=1e-6))
    known = _shrunk((votes > 0).float(), size)
    return soft_cross_entropy(logits, target, known * (known > 0.5))


def self_entropy(logits: Tensor, own: Tensor) -> Tensor:
    """Mean entropy of the maps [B, P, h, w] of the words that a photo is known by, bool [B, P]."""
    return weighted_mean(binary_entropy(logits).mean(dim=(-2, -1)), own.float())


def compare_crop(teacher: Any, photos: Tensor, prompts: Sequence[str], logits: Tensor, crop: Tensor) -> CropComparison:
    """A crop as the teacher sees it, large, and as the student sees it within the photo.

    Args:
        photos: [B, 3, H, W]. logits: the student's, [B, P, h, w]. crop: [B, 3], see `StudyBatches`; its bounds are
            moved to the nearest borders of the student's pixels.
    """
    (height, width), (rows, columns) = photos.shape[-2:], logits.shape[-2:]
    side = float(crop[0, 2]) * min(height, width)
    tall, wide = (max(1, min(n, round(side * n / length))) for n, length in ((rows, height), (columns, width)))
    tops = [round(float(v) * (rows - tall)) for v in crop[:, 1]]
    lefts = [round(float(u) * (columns - wide)) for u in crop[:, 0]]
    size = (max(1, round(tall * height / rows)), max(1, round(wide * width / columns)))
    pixels = torch.stack(
        [
            _cut(photo, round(top * height / rows), round(left * width / columns), *size)
            for photo, top, left in zip(photos, tops, lefts, strict=True)
        ]
    )
    with torch.no_grad():
        target = torch.sigmoid(teacher(pixels, prompts).float())
    seen = torch.stack([_cut(m, top, left, tall, wide) for m, top, left in zip(logits, tops, lefts, strict=True)])
    return CropComparison(pixels, _shrunk(target, (tall, wide)), seen)


def crop_loss(seen: CropComparison) -> Tensor:
    """Cross-entropy of the student within the photo with the teacher on the crop."""
    return soft_cross_entropy(seen.logits, seen.target, torch.ones_like(seen.target))


def best_crop_loss(candidates: Sequence[CropComparison], own: Tensor, ranks: Sequence[Tensor] | None) -> Tensor:
    """The loss on each photo's best crop: the one that fits the words the photo is known by, bool [B, P].

    ranks: how well each candidate fits each word, [B, P] each; None: the mean of the teacher's map.
    """
    fits = ranks or [seen.target.mean(dim=(-2, -1)) for seen in candidates]
    known = torch.where(own.any(dim=1, keepdim=True), own, torch.ones_like(own)).float()
    best = torch.stack([(fit * known).sum(dim=1) for fit in fits]).argmax(dim=0)
    losses = [crop_loss(_of(seen, best == index)) for index, seen in enumerate(candidates) if (best == index).any()]
    shares = [float((best == index).float().mean()) for index in range(len(candidates)) if (best == index).any()]
    return torch.stack([share * loss for share, loss in zip(shares, losses, strict=True)]).sum()


def set_trainable(segmenter: TrainableSegmenter, statistics: bool = False) -> None:
    """Freeze all but the submodules that `segmenter.trainable` names ("" is all of it).

    What is frozen is in evaluation mode; the rest learns, its batch norms' statistics only where asked: those of a few
    photos are not those of all.

    Raises: BadInput where a name belongs to no submodule.
    """
    modules = dict(segmenter.named_modules())
    unknown = [name for name in segmenter.trainable if name not in modules]
    if unknown or not segmenter.trainable:
        children = ", ".join(name for name in modules if name and name.count(".") < 2)
        raise BadInput(
            f"expected segmenter.trainable to name submodules, got {list(segmenter.trainable)}"
            f"{f', of which {unknown} are none' if unknown else ''}.\nSubmodules, from the top: {children}"
        )
    segmenter.train(False)
    segmenter.requires_grad_(False)
    for name in segmenter.trainable:
        modules[name].train(True)
        modules[name].requires_grad_(True)
    if not statistics:
        for module in modules.values():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train(False)


def _of(seen: CropComparison, rows: Tensor) -> CropComparison:
    return CropComparison(seen.crops[rows], seen.target[rows], seen.logits[rows])


def _cut(picture: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    """[..., height, width], moved inwards where it would end outside."""
    top = max(0, min(top, picture.shape[-2] - height))
    left = max(0, min(left, picture.shape[-1] - width))
    return picture[..., top : top + height, left : left + width]


def _shrunk(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Resampled to `size`, averaging where it shrinks."""
    if maps.shape[-2:] == torch.Size(size):
        return maps
    return interpolate(maps, size=tuple(size), mode="bilinear", antialias=True, align_corners=False)


@dataclass(frozen=True)
class TeacherStudentLosses:
    """Frozen models; not a module, for what does not learn need not be in every checkpoint."""

    weights: LossWeights
    base: Any  # the segmenter as it was
    teacher: Any  # the one that looks at crops
    retriever: Any | None  # chooses the better crop; None leaves it to the teacher
    consensus: float  # what the base's look at the whole photo counts beside each close-up
    candidates: int  # crops of a photo, the first, of which the better counts; the others all do

    def to(self, device: torch.device | str) -> None:
        """Move the models."""
        for model in (self.base, self.teacher, self.retriever):
            if isinstance(model, torch.nn.Module):
                model.to(device)

    def losses(self, student: Any, group: PhotoBatch, prompts: Sequence[str]) -> dict[str, Tensor]:
        """The losses whose weight is above 0, scalars, by name."""
        logits = student(group.shown, prompts).float()
        found = {}
        if self.weights.warped:
            whole = self._whole(group, prompts) if self.consensus else None
            found["warped"] = target_loss(logits, group.evidence, group.votes, whole, self.consensus)
        if self.weights.entropy:
            found["entropy"] = self_entropy(logits, group.own)
        if len(group.crops):
            looks = [compare_crop(self.teacher, group.photos, prompts, logits, crop) for crop in group.crops]
            candidates, details = looks[: self.candidates], looks[self.candidates :]
            if candidates:
                found["crop"] = best_crop_loss(candidates, group.own, self.ranks(candidates, prompts))
            if details:
                found["detail"] = torch.stack([crop_loss(seen) for seen in details]).mean()
        return found

    @torch.no_grad()
    def ranks(self, candidates: Sequence[CropComparison], prompts: Sequence[str]) -> list[Tensor] | None:
        """How well each candidate crop fits each word, [B, P]."""
        if self.retriever is None:
            return None
        texts = self.retriever.embed_texts(list(prompts))
        return [self.retriever.embed_images(seen.crops) @ texts.T for seen in candidates]

    @torch.no_grad()
    def _whole(self, group: PhotoBatch, prompts: Sequence[str]) -> Tensor:
        return self.base(group.photos, prompts).float()
