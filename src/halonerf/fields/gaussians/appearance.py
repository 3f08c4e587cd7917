"""Appearance of photos in the wild: a code per photo, learnt or computed by a CNN, and the networks that apply it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halonerf.errors import BadInput
from halonerf.fields.encoder import AppearanceEncoder
from halonerf.geometry import ray_directions
from halonerf.types import View

MAX_PHOTO_SIZE = 64  # px, of the encoder's input: appearance shows in large areas, and cost grows with the pixels


class AppearanceCodes(nn.Module):
    """Appearance codes of the fitted photos and, with an encoder, of any other.

    Args:
        kind: "embedding" (one learnt vector per photo) or "encoder" (`halonerf.fields.encoder`).
        size: A, numbers in a code.
    """

    table: Tensor  # [photos, A]; with an encoder: its last output for each photo
    known: Tensor  # bool [photos], whether the table holds the photo's code

    def __init__(self, kind: Literal["embedding", "encoder"], size: int) -> None:
        super().__init__()
        self.size, self.names = size, list[str]()
        self.encoder = AppearanceEncoder(size, MAX_PHOTO_SIZE) if kind == "encoder" else None
        self._resize(0)

    @property
    def encodes(self) -> bool:
        """Whether codes are computed from photos."""
        return self.encoder is not None

    def initialise(self, names: Sequence[str], generator: torch.Generator) -> None:
        """Zero codes for the photos that will be fitted; random weights for the encoder."""
        self.names = list(names)
        self._resize(len(names))
        for parameter in self.encoder.parameters() if self.encoder is not None else ():
            fan = parameter[0].numel() if parameter.dim() > 1 else len(parameter)
            with torch.no_grad():
                parameter.copy_((2 * torch.rand(parameter.shape, generator=generator) - 1) * math.sqrt(1 / fan))

    def of(self, name: str) -> Tensor:
        """The code [A] of a fitted photo; the mean code for any other."""
        place = self.names.index(name) if name in self.names else -1
        return self.table[place] if place >= 0 and self.known[place] else self.mean()

    def mean(self) -> Tensor:
        """The mean code, [A]: neutral appearance."""
        return self.table[self.known].mean(dim=0) if self.known.any() else self.table.new_zeros(self.size)

    def encode(self, photo: Tensor) -> Tensor:
        """The code [A] of a photo [H, W, 3] in [0, 1].

        Raises: BadInput where codes are learnt vectors.
        """
        if self.encoder is None:
            raise BadInput(
                "expected a field that computes codes from photos, got one with a learnt code per photo.\n"
                "Fit it with: field.codes=encoder"
            )
        return self.encoder(photo)

    def training_appearance(self, name: str, photo: Tensor) -> Tensor:
        """The code [A] of a photo [H, W, 3] in [0, 1] that is being fitted; differentiable."""
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
        """Take the number of photos from the state."""
        if f"{prefix}table" in state_dict:
            self._resize(len(state_dict[f"{prefix}table"]))
        super()._load_from_state_dict(state_dict, prefix, *rest)


SKY_STEP = 4  # px of the image per sample of the sky, which is smooth


class AppearanceModel(nn.Module):
    """Two small networks: colours, evaluated once per Gaussian, and sky, evaluated once per 4 x 4 pixels.

    Args:
        code_size: A, numbers in a photo's code.
        feature_size: F, numbers in a Gaussian's feature, which sets how its colour depends on the code.
        width: hidden units.
        tint: "network" (an affine map of each Gaussian's colour logits, from its feature and the code), "affine" (one
            such map for all Gaussians of a photo) or "none" (all photos have the same appearance, sky included).
    """

    def __init__(
        self, code_size: int, feature_size: int, width: int, tint: Literal["network", "affine", "none"] = "network"
    ) -> None:
        super().__init__()
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
        """Colours [N, 3] in [0, 1] under a code: sigmoid of an affine map of the logits, the identity before training.

        colour_logits: [N, 3]. features: [N, F]. code: [A].
        """
        if self.kind == "none":
            return torch.sigmoid(colour_logits)
        shift = self.from_code(code)
        hidden = F.relu(self.from_feature(features) + shift if self.kind == "network" else shift)
        gain, bias = self.to_affine(hidden).chunk(2, dim=-1)
        return torch.sigmoid(colour_logits * (1 + gain) + bias)

    def background(self, view: View, code: Tensor) -> Tensor:
        """The sky behind all Gaussians, [H, W, 3] in [0, 1]: a smooth function of the direction and the code [A].

        Its samples lie at fixed positions of the whole image, one beyond each border: a part has the same sky.
        """
        if self.kind == "none":
            code = torch.zeros_like(code)
        left, top, _, _ = view.bounds
        x, skip_x = _samples(round(-left), view.width)
        y, skip_y = _samples(round(-top), view.height)
        pixels = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).to(code)
        directions = F.normalize(ray_directions(view, pixels), dim=-1)
        waves = torch.cat([directions, torch.sin(3 * directions), torch.cos(3 * directions)], dim=-1)
        inputs = torch.cat([waves, code.expand(len(y), len(x), -1)], dim=-1)
        sky = torch.sigmoid(self.sky(inputs)).permute(2, 0, 1)[None]
        wide = F.interpolate(sky, scale_factor=SKY_STEP, mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
        return wide[skip_y : skip_y + view.height, skip_x : skip_x + view.width]


def _samples(start: int, size: int) -> tuple[Tensor, int]:
    """Positions of the sky's samples along one axis, px of the view, and px from the first cell to the view's start.

    start: px, where the view begins in the whole image. size: px, its length.
    """
    first, last = start // SKY_STEP - 1, (start + size - 1) // SKY_STEP + 1
    cells = torch.arange(first, last + 1)
    return (cells + 0.5) * SKY_STEP - start, start - first * SKY_STEP
