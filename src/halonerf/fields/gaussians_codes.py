"""A code per photo that says what light it was taken in: learnt one by one, or read from the photo by a CNN."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from halonerf.errors import BadInput
from halonerf.fields.encoder import AppearanceEncoder

KINDS = ("embedding", "encoder")
PHOTO_SIZE = 64  # px; light is a matter of large areas, and the encoder's cost grows with the pixels


class Codes(nn.Module):
    """Codes of the photos that are fitted, and with "encoder" of any other.

    Args:
        kind: "embedding" (a free code a photo) or "encoder" (`halonerf.fields.encoder`).
        size: A, numbers in a code.
    """

    table: Tensor  # [photos, A]; of the encoder: what it last said of each photo
    known: Tensor  # bool [photos], whether the table has the photo's code

    def __init__(self, kind: str, size: int) -> None:
        super().__init__()
        if kind not in KINDS:
            raise BadInput(f"expected field.codes among {', '.join(KINDS)}, got '{kind}'")
        self.size, self.names = size, list[str]()
        self.encoder = AppearanceEncoder(size, PHOTO_SIZE) if kind == "encoder" else None
        self._resize(0)

    @property
    def encodes(self) -> bool:
        """Whether codes come from photos."""
        return self.encoder is not None

    def initialise(self, names: Sequence[str], generator: torch.Generator) -> None:
        """Neutral codes for the photos that will be seen; random weights for the encoder."""
        self.names = list(names)
        self._resize(len(names))
        for parameter in self.encoder.parameters() if self.encoder is not None else ():
            fan = parameter[0].numel() if parameter.dim() > 1 else len(parameter)
            with torch.no_grad():
                parameter.copy_((2 * torch.rand(parameter.shape, generator=generator) - 1) * math.sqrt(1 / fan))

    def of(self, name: str) -> Tensor:
        """The code [A] of a photo that was fitted; for any other, the mean."""
        place = self.names.index(name) if name in self.names else -1
        return self.table[place] if place >= 0 and self.known[place] else self.mean()

    def mean(self) -> Tensor:
        """The mean code, [A]: neutral light."""
        return self.table[self.known].mean(dim=0) if self.known.any() else self.table.new_zeros(self.size)

    def encode(self, photo: Tensor) -> Tensor:
        """The code [A] of a photo [H, W, 3] in [0, 1].

        Raises: BadInput where codes are learnt one by one.
        """
        if self.encoder is None:
            raise BadInput(
                "expected a field that reads codes from photos, got one that learns a code for each.\n"
                "Fit it with: field.codes=encoder"
            )
        return self.encoder(photo)

    def observe(self, name: str, photo: Tensor) -> Tensor:
        """The code [A] of a photo that is being fitted, with its gradient."""
        if self.encoder is None:
            return self.of(name)
        code, place = self.encode(photo), self.names.index(name)
        with torch.no_grad():
            self.table[place] = code
            self.known[place] = True
        return code

    def _resize(self, photos: int) -> None:
        self.table = nn.Parameter(torch.zeros(photos, self.size), requires_grad=not self.encodes)
        self.register_buffer("known", torch.full((photos,), not self.encodes))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """The number of photos is whatever the file says."""
        if f"{prefix}table" in state_dict:
            self._resize(len(state_dict[f"{prefix}table"]))
        super()._load_from_state_dict(state_dict, prefix, *rest)
