"""What a student loses against frozen teachers: each loss of `adaptation`, computed where its weight asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from halonerf.stages.adaptation import (
    Look,
    PhotoBatch,
    Weights,
    best_crop_loss,
    crop_loss,
    look,
    own_entropy,
    target_loss,
)


@dataclass(frozen=True)
class Teaching:
    """Frozen models; not a module, for what does not learn need not be in every checkpoint."""

    weights: Weights
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
            found["entropy"] = own_entropy(logits, group.own)
        if len(group.crops):
            looks = [look(self.teacher, group.photos, prompts, logits, crop) for crop in group.crops]
            candidates, details = looks[: self.candidates], looks[self.candidates :]
            if candidates:
                found["crop"] = best_crop_loss(candidates, group.own, self.ranks(candidates, prompts))
            if details:
                found["detail"] = torch.stack([crop_loss(seen) for seen in details]).mean()
        return found

    @torch.no_grad()
    def ranks(self, candidates: Sequence[Look], prompts: Sequence[str]) -> list[Tensor] | None:
        """How well each candidate crop fits each word, [B, P]."""
        if self.retriever is None:
            return None
        texts = self.retriever.embed_texts(list(prompts))
        return [self.retriever.embed_images(seen.crops) @ texts.T for seen in candidates]

    @torch.no_grad()
    def _whole(self, group: PhotoBatch, prompts: Sequence[str]) -> Tensor:
        return self.base(group.photos, prompts).float()
