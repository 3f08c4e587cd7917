"""Teacher-student losses of segmenter adaptation, and the submodules that they train."""

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

DEFAULT_WEIGHTS: Mapping[str, float] = MappingProxyType({"warped": 1.0, "entropy": 0.0, "crop": 0.0, "detail": 0.0})


@dataclass(frozen=True)
class LossWeights:
    """Weights of the losses; one of weight 0 is not computed."""

    warped: float
    entropy: float
    crop: float
    detail: float

    @classmethod
    def of(cls, given: Mapping[str, float]) -> LossWeights:
        """The weights of a config, completed by `DEFAULT_WEIGHTS`.

        Raises: BadInput for an unknown loss, a negative weight, or none above 0.
        """
        values = {name: float(given.get(name, default)) for name, default in DEFAULT_WEIGHTS.items()}
        if set(given) - set(DEFAULT_WEIGHTS) or min(values.values()) < 0 or max(values.values()) == 0:
            raise BadInput(
                f"expected weights of {', '.join(DEFAULT_WEIGHTS)}, none negative and one above 0, got {dict(given)}.\n"
                "For example: adapt_segmenter.losses.warped=1 adapt_segmenter.losses.crop=0.5"
            )
        return cls(**values)

    def __getitem__(self, name: str) -> float:
        return float(getattr(self, name))


@dataclass(frozen=True)
class PhotoBatch:
    """The photos of one size in a batch of `AdaptationBatches`, stacked."""

    photos: Tensor  # [B, 3, H, W]
    augmented: Tensor  # [B, 3, H, W]
    own: Tensor  # [B, P]
    evidence: Tensor  # [B, P, H, W]
    votes: Tensor  # [B, P, H, W]
    crops: Tensor  # [N, B, 3]

    def __len__(self) -> int:
        return len(self.photos)


@dataclass(frozen=True)
class CropComparison:
    """A crop of each photo: the teacher's probabilities at the student's resolution, and its logits, [B, P, h, w]."""

    crops: Tensor  # [B, 3, h', w']
    target: Tensor
    logits: Tensor


def batches_by_size(batch: Mapping[str, Any]) -> list[PhotoBatch]:
    """Split a batch of `AdaptationBatches` into groups of photos of one size."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for row, photo in enumerate(batch["photos"]):
        groups.setdefault(tuple(photo.shape), []).append(row)
    return [
        PhotoBatch(
            photos=torch.stack([batch["photos"][row] for row in rows]),
            augmented=torch.stack([batch["augmented"][row] for row in rows]),
            own=batch["own"][rows],
            evidence=torch.stack([batch["evidence"][row] for row in rows]),
            votes=torch.stack([batch["votes"][row] for row in rows]),
            crops=batch["crops"][:, rows],
        )
        for rows in groups.values()
    ]


def target_loss(logits: Tensor, evidence: Tensor, votes: Tensor, whole: Tensor | None, consensus: float) -> Tensor:
    """Cross-entropy with the close-ups' targets (HaLo-NeRF's correspondence loss), or with a consensus: a scalar.

    The consensus is the weighted mean of log-odds of each close-up, with weight 1, and the teacher's map of the whole
    photo, with weight `consensus`. It is defined for every pixel, and a close-up that misjudges what it cuts off never
    decides alone.

    Args:
        logits: of the student, [B, P, h, w]. evidence, votes: [B, P, H, W], averaged over the area of a map's pixel.
        whole: the teacher's logits of the whole photos, [B, P, h, w]; None: close-ups only.
    """
    size = logits.shape[-2:]
    count = _downsized(votes, size)
    log_odds = _downsized(evidence, size)
    if whole is not None:
        target = torch.sigmoid((log_odds + consensus * whole) / (count + consensus))
        return soft_cross_entropy(logits, target, torch.ones_like(target))
    target = torch.sigmoid(log_odds / count.clamp(min=1e-6))
    known = _downsized((votes > 0).float(), size)
    return soft_cross_entropy(logits, target, known * (known > 0.5))


def self_entropy(logits: Tensor, own: Tensor) -> Tensor:
    """Mean entropy, a scalar, of the maps [B, P, h, w] of the photos' own labels, bool [B, P]."""
    return weighted_mean(binary_entropy(logits).mean(dim=(-2, -1)), own.float())


def compare_crop(teacher: Any, photos: Tensor, prompts: Sequence[str], logits: Tensor, crop: Tensor) -> CropComparison:
    """The teacher's prediction on an enlarged crop, and the student's on the same part of the whole photo.

    Args:
        photos: [B, 3, H, W] in [0, 1]. logits: the student's, [B, P, h, w]. crop: [B, 3], see `AdaptationBatches`; its
            bounds are rounded to the student's pixels.
    """
    (height, width), (rows, columns) = photos.shape[-2:], logits.shape[-2:]
    side = float(crop[0, 2]) * min(height, width)
    crop_rows, crop_columns = (
        max(1, min(n, round(side * n / length))) for n, length in ((rows, height), (columns, width))
    )
    tops = [round(float(v) * (rows - crop_rows)) for v in crop[:, 1]]
    lefts = [round(float(u) * (columns - crop_columns)) for u in crop[:, 0]]
    size = (max(1, round(crop_rows * height / rows)), max(1, round(crop_columns * width / columns)))
    pixels = torch.stack(
        [
            _cut(photo, round(top * height / rows), round(left * width / columns), *size)
            for photo, top, left in zip(photos, tops, lefts, strict=True)
        ]
    )
    with torch.no_grad():
        target = torch.sigmoid(teacher(pixels, prompts).float())
    student = torch.stack(
        [_cut(m, top, left, crop_rows, crop_columns) for m, top, left in zip(logits, tops, lefts, strict=True)]
    )
    return CropComparison(pixels, _downsized(target, (crop_rows, crop_columns)), student)


def crop_loss(comparison: CropComparison) -> Tensor:
    """Cross-entropy, a scalar, of the student's prediction on the whole photo with the teacher's on the crop."""
    return soft_cross_entropy(comparison.logits, comparison.target, torch.ones_like(comparison.target))


def best_crop_loss(candidates: Sequence[CropComparison], own: Tensor, ranks: Sequence[Tensor] | None) -> Tensor:
    """Mean of `crop_loss` over each photo's best candidate: the one with the highest score for its labels.

    Args:
        own: bool [B, P], labels of the photos. ranks: score of each candidate for each word, [B, P] each; None: the
            mean of the teacher's map.
    """
    scores = ranks or [candidate.target.mean(dim=(-2, -1)) for candidate in candidates]
    known = torch.where(own.any(dim=1, keepdim=True), own, torch.ones_like(own)).float()
    best = torch.stack([(score * known).sum(dim=1) for score in scores]).argmax(dim=0)
    losses = [crop_loss(_rows(c, best == index)) for index, c in enumerate(candidates) if (best == index).any()]
    shares = [float((best == index).float().mean()) for index in range(len(candidates)) if (best == index).any()]
    return torch.stack([share * loss for share, loss in zip(shares, losses, strict=True)]).sum()


def set_trainable(segmenter: TrainableSegmenter, update_batchnorm: bool = False) -> None:
    """Freeze all but the submodules that `segmenter.trainable` names ("" is the whole model).

    Frozen submodules are in evaluation mode. Batch norms of the others update their statistics only with
    `update_batchnorm`: those of a few photos are not representative.

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
    if not update_batchnorm:
        for module in modules.values():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train(False)


def _rows(comparison: CropComparison, rows: Tensor) -> CropComparison:
    """The comparison of some photos; rows: bool [B]."""
    return CropComparison(comparison.crops[rows], comparison.target[rows], comparison.logits[rows])


def _cut(picture: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    """Window [..., height, width] of a picture, moved inwards where it would end outside."""
    top = max(0, min(top, picture.shape[-2] - height))
    left = max(0, min(left, picture.shape[-1] - width))
    return picture[..., top : top + height, left : left + width]


def _downsized(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps [B, P, H, W] resampled to `size`, anti-aliased where it shrinks."""
    if maps.shape[-2:] == torch.Size(size):
        return maps
    return interpolate(maps, size=tuple(size), mode="bilinear", antialias=True, align_corners=False)


@dataclass(frozen=True)
class TeacherStudentLosses:
    """The losses with their frozen models; not a torch module, so that checkpoints do not contain those."""

    weights: LossWeights
    base: Any  # the segmenter before adaptation
    teacher: Any  # the segmenter of crops
    retriever: Any | None  # ranks candidate crops; None: the teacher does
    consensus: float  # weight of the base's map of the whole photo relative to a close-up
    candidates: int  # number of first crops of which the best counts; of the others all do

    def to(self, device: torch.device | str) -> None:
        """Move the models to `device`."""
        for model in (self.base, self.teacher, self.retriever):
            if isinstance(model, torch.nn.Module):
                model.to(device)

    def losses(self, student: Any, group: PhotoBatch, prompts: Sequence[str]) -> dict[str, Tensor]:
        """The losses of weight above 0, unweighted scalars, by name."""
        logits = student(group.augmented, prompts).float()
        values = {}
        if self.weights.warped:
            whole = self._whole(group, prompts) if self.consensus else None
            values["warped"] = target_loss(logits, group.evidence, group.votes, whole, self.consensus)
        if self.weights.entropy:
            values["entropy"] = self_entropy(logits, group.own)
        if len(group.crops):
            comparisons = [compare_crop(self.teacher, group.photos, prompts, logits, crop) for crop in group.crops]
            candidates, details = comparisons[: self.candidates], comparisons[self.candidates :]
            if candidates:
                values["crop"] = best_crop_loss(candidates, group.own, self.ranks(candidates, prompts))
            if details:
                values["detail"] = torch.stack([crop_loss(detail) for detail in details]).mean()
        return values

    @torch.no_grad()
    def ranks(self, candidates: Sequence[CropComparison], prompts: Sequence[str]) -> list[Tensor] | None:
        """Similarity of each candidate crop to each prompt, [B, P] each; None without a retriever."""
        if self.retriever is None:
            return None
        texts = self.retriever.embed_texts(list(prompts))
        return [self.retriever.embed_images(candidate.crops) @ texts.T for candidate in candidates]

    @torch.no_grad()
    def _whole(self, group: PhotoBatch, prompts: Sequence[str]) -> Tensor:
        return self.base(group.photos, prompts).float()
