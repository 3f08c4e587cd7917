"""The lights of a NeRF in the wild: codes that a CNN reads from photos, remembered for those that were fitted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from halonerf.fields.encoder import AppearanceEncoder


class RelitPair(NamedTuple):
    """What a step learns from besides the fine network's error."""

    coarse: Tensor  # [H, W, 3], the coarse network's picture
    colour: Tensor  # [H, W, 3], the fine network's
    code: Tensor  # [A], the photo's
    other: Tensor | None  # [A], another photo's, once one was seen
    relit: Tensor | None  # [H, W, 3], the picture in that light


class AppearanceLosses(nn.Module):
    """The encoder and, for every fitted photo, its code as it was when the photo was last seen.

    Args:
        code_size: numbers in a code.
        photo_size: px; longer photos are shrunk to it first.
        code_weight, relit_weight, spread_weight: of the three terms of `penalty`.
    """

    codes: Tensor  # [photos, A]
    known: Tensor  # bool [photos], whether the photo was seen yet

    def __init__(
        self, code_size: int, photo_size: int, code_weight: float, relit_weight: float, spread_weight: float
    ) -> None:
        super().__init__()
        self.code_weight, self.relit_weight, self.spread_weight = code_weight, relit_weight, spread_weight
        self.encoder = AppearanceEncoder(code_size, photo_size)
        self.names: list[str] = []
        self.current = -1  # the photo that was last seen
        self.register_buffer("codes", torch.zeros(0, code_size))
        self.register_buffer("known", torch.zeros(0, dtype=torch.bool))

    def initialise(self, names: Sequence[str]) -> None:
        """The photos that will be seen; none is yet."""
        self.names, self.current = list(names), -1
        self.codes = self.codes.new_zeros(len(names), self.codes.shape[1])
        self.known = self.known.new_zeros(len(names))

    def mean(self) -> Tensor:
        """The mean code of the photos seen, [A]; zero before any was."""
        return self.codes[self.known].mean(dim=0) if self.known.any() else torch.zeros_like(self.codes.sum(dim=0))

    def of(self, name: str) -> Tensor:
        """The code [A] of a photo that was seen; for any other, the mean."""
        place = self.names.index(name) if name in self.names else -1
        return self.codes[place] if place >= 0 and self.known[place] else self.mean()

    def training_appearance(self, name: str, photo: Tensor) -> Tensor:
        """The code [A] of a photo [H, W, 3] in [0, 1], with its gradient; remembered without."""
        code = self.encoder(photo)
        self.current = self.names.index(name)
        self.codes[self.current] = code.detach()
        self.known[self.current] = True
        return code

    def another(self, chance: torch.Generator) -> Tensor | None:
        """The remembered code [A] of a photo other than the last one; None while there is none."""
        others = self.known.clone()
        if self.current >= 0:
            others[self.current] = False
        seen = others.nonzero()[:, 0]
        if not len(seen):
            return None
        return self.codes[seen[int(torch.randint(len(seen), (1,), generator=chance))]].clone()

    def penalty(self, lesson: RelitPair) -> Tensor:
        """The squared length of the code; the error with which the encoder reads the other light from the relit
        picture; and the inverse of how much the picture changed per change of the code, which keeps the field from
        leaving codes unused (Mao et al., Mode seeking, 2019, eq. 3).
        """
        loss = self.code_weight * (lesson.code**2).sum()
        if lesson.other is not None and lesson.relit is not None:
            read = (self.encoder(lesson.relit) - lesson.other).abs().mean()
            codes = (lesson.code - lesson.other).detach().abs().mean().clamp(min=1e-5)
            change = (lesson.relit - lesson.colour.detach()).abs().mean() / codes
            loss = loss + self.relit_weight * read + self.spread_weight / (change + 1e-5)
        return loss

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """The number of photos is whatever the file says."""
        if f"{prefix}codes" in state_dict and f"{prefix}known" in state_dict:
            photos = len(state_dict[f"{prefix}codes"])
            self.codes = self.codes.new_zeros(photos, self.codes.shape[1])
            self.known = self.known.new_zeros(photos)
        super()._load_from_state_dict(state_dict, prefix, *rest)
