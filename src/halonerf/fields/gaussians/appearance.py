"""A code per photo that says what light it was taken in: learnt one by one, or read from the photo by a CNN."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halonerf.errors import BadInput
from halonerf.fields.encoder import AppearanceEncoder
from halonerf.geometry import ray_directions
from halonerf.types import View

KINDS = ("embedding", "encoder")
PHOTO_SIZE = 64  # px; light is a matter of large areas, and the encoder's cost grows with the pixels


class AppearanceCodes(nn.Module):
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

    def training_appearance(self, name: str, photo: Tensor) -> Tensor:
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


TINTS = ("network", "affine", "none")
SKY_STEP = 4  # px of the picture a sample of the sky: it is smooth


class AppearanceModel(nn.Module):
    """Two small networks; one is evaluated once a Gaussian, the other once for 4 x 4 pixels.

    Args:
        code_size: A, numbers in a photo's code.
        feature_size: numbers in a Gaussian's feature: how it answers to light.
        width: hidden units.
        tint: "network" (an affine change of each Gaussian's colour logits, from its feature and the code), "affine"
            (one such change for all Gaussians of a photo) or "none" (every photo has the same light, sky included).
    """

    def __init__(self, code_size: int, feature_size: int, width: int, tint: str = "network") -> None:
        super().__init__()
        if tint not in TINTS:
            raise BadInput(f"expected field.tint among {', '.join(TINTS)}, got '{tint}'")
        self.kind = tint
        self.from_feature = nn.Linear(feature_size, width, bias=False)
        self.from_code = nn.Linear(code_size, width)
        self.to_affine = nn.Linear(width, 6)
        nn.init.zeros_(self.to_affine.weight)
        nn.init.zeros_(self.to_affine.bias)
        self.sky = nn.Sequential(
            nn.Linear(code_size + 9, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 3)
        )

    def tint(self, colour_logits: Tensor, features: Tensor, code: Tensor) -> Tensor:
        """Colours in [0, 1], [N, 3]: sigmoid of an affine change of the logits [N, 3]; neutral before training."""
        if self.kind == "none":
            return torch.sigmoid(colour_logits)
        shift = self.from_code(code)
        hidden = F.relu(self.from_feature(features) + shift if self.kind == "network" else shift)
        gain, bias = self.to_affine(hidden).chunk(2, dim=-1)
        return torch.sigmoid(colour_logits * (1 + gain) + bias)

    def background(self, view: View, code: Tensor) -> Tensor:
        """The sky behind everything, [H, W, 3] in [0, 1]: a smooth function of the direction and the code.

        Its samples lie at fixed places of the whole picture, with one more all around: a part has the same sky.
        """
        if self.kind == "none":
            code = torch.zeros_like(code)
        left, top, _, _ = view.bounds
        x, skip_x = _samples(round(-left), view.width)
        y, skip_y = _samples(round(-top), view.height)
        pixels = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).to(code)
        directions = F.normalize(ray_directions(view, pixels), dim=-1)
        waves = torch.cat([directions, torch.sin(3 * directions), torch.cos(3 * directions)], dim=-1)
        given = torch.cat([waves, code.expand(len(y), len(x), -1)], dim=-1)
        sky = torch.sigmoid(self.sky(given)).permute(2, 0, 1)[None]
        wide = F.interpolate(sky, scale_factor=SKY_STEP, mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
        return wide[skip_y : skip_y + view.height, skip_x : skip_x + view.width]


def _samples(start: int, size: int) -> tuple[Tensor, int]:
    """Where the sky is sampled along one axis, px of the view, and how many px before the view that begins.

    start: px, where the view begins in the whole picture. size: px, its length.
    """
    first, last = start // SKY_STEP - 1, (start + size - 1) // SKY_STEP + 1
    cells = torch.arange(first, last + 1)
    return (cells + 0.5) * SKY_STEP - start, start - first * SKY_STEP
