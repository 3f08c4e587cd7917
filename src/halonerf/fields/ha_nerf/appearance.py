"""Appearance of a NeRF in the wild: codes that a CNN computes from photos, and the losses on them (Ha-NeRF, 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from halonerf.fields.encoder import AppearanceEncoder


class RelitPair(NamedTuple):
    """A training view rendered under its photo's code and under another's."""

    colour: Tensor  # [H, W, 3] in [0, 1], under the photo's code
    code: Tensor  # [A], the photo's
    other: Tensor | None  # [A], another photo's; None until one has been fitted
    relit: Tensor | None  # [H, W, 3] in [0, 1], the same view under that code


class EncodedAppearance(nn.Module):
    """The appearance encoder, and the code of every fitted photo as of the last step that showed it.

    Args:
        code_size: A, numbers in a code.
        photo_size: px; longer photos are shrunk to it first.
        code_weight, relit_weight, spread_weight: of the three terms of `penalty`.
    """

    codes: Tensor  # [photos, A]
    known: Tensor  # bool [photos], whether the photo has been fitted yet

    def __init__(
        self, code_size: int, photo_size: int, code_weight: float, relit_weight: float, spread_weight: float
    ) -> None:
        super().__init__()
        self.code_weight, self.relit_weight, self.spread_weight = code_weight, relit_weight, spread_weight
        self.encoder = AppearanceEncoder(code_size, photo_size)
        self.names: list[str] = []
        self.current = -1  # index of the photo of the last step
        self.register_buffer("codes", torch.zeros(0, code_size))
        self.register_buffer("known", torch.zeros(0, dtype=torch.bool))

    def initialise(self, names: Sequence[str]) -> None:
        """Zero codes for the photos that will be fitted, none of them known."""
        self.names, self.current = list(names), -1
        self.codes = self.codes.new_zeros(len(names), self.codes.shape[1])
        self.known = self.known.new_zeros(len(names))

    def mean(self) -> Tensor:
        """The mean of the known codes, [A]; zero where none is."""
        return self.codes[self.known].mean(dim=0) if self.known.any() else torch.zeros_like(self.codes.sum(dim=0))

    def of(self, name: str) -> Tensor:
        """The stored code [A] of a fitted photo; the mean code for any other."""
        place = self.names.index(name) if name in self.names else -1
        return self.codes[place] if place >= 0 and self.known[place] else self.mean()

    def training_appearance(self, name: str, photo: Tensor) -> Tensor:
        """The code [A] of a photo [H, W, 3] in [0, 1], differentiable; stored without its gradient."""
        code = self.encoder(photo)
        self.current = self.names.index(name)
        self.codes[self.current] = code.detach()
        self.known[self.current] = True
        return code

    def another(self, generator: torch.Generator) -> Tensor | None:
        """The stored code [A] of a random photo other than the last one; None while there is none."""
        others = self.known.clone()
        if self.current >= 0:
            others[self.current] = False
        places = others.nonzero()[:, 0]
        if not len(places):
            return None
        return self.codes[places[int(torch.randint(len(places), (1,), generator=generator))]].clone()

    def penalty(self, pair: RelitPair) -> Tensor:
        """Ha-NeRF's appearance losses, a scalar: the weighted sum of three terms.

        The mean squared entry of the code; the mean absolute error of the other code as encoded from the relit image;
        and the inverse of the change of the image per change of the code, without which the field would ignore the
        codes (Mao et al., Mode seeking, 2019, eq. 3).
        """
        loss = self.code_weight * (pair.code**2).mean()
        if pair.other is not None and pair.relit is not None:
            error = (self.encoder(pair.relit) - pair.other).abs().mean()
            distance = (pair.code - pair.other + 1e-6).detach().abs().mean()
            change = (pair.relit - pair.colour.detach()).abs().mean() / distance
            loss = loss + self.relit_weight * error + self.spread_weight / (change + 1e-5)
        return loss

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Take the number of photos from the state."""
        if f"{prefix}codes" in state_dict and f"{prefix}known" in state_dict:
            photos = len(state_dict[f"{prefix}codes"])
            self.codes = self.codes.new_zeros(photos, self.codes.shape[1])
            self.known = self.known.new_zeros(photos)
        super()._load_from_state_dict(state_dict, prefix, *rest)
