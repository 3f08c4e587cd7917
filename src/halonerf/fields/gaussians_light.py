"""Light that changes from photo to photo: a code per photo tints each Gaussian and paints the sky."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halonerf.errors import BadInput
from halonerf.geometry import ray_directions
from halonerf.types import View

TINTS = ("network", "affine", "none")
SKY_STEP = 4  # px of the picture a sample of the sky: it is smooth


class Light(nn.Module):
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
