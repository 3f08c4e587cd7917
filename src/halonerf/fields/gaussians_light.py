"""Light that changes from photo to photo: a code per photo tints each Gaussian and paints the sky."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halonerf.types import View

SKY_STEP = 4  # px of the picture a sample of the sky: it is smooth


class Light(nn.Module):
    """Two small networks; one is evaluated once a Gaussian, the other once for 4 x 4 pixels.

    Args:
        code_size: A, numbers in a photo's code.
        feature_size: numbers in a Gaussian's feature: how it answers to light.
        width: hidden units.
    """

    def __init__(self, code_size: int, feature_size: int, width: int) -> None:
        super().__init__()
        self.from_feature = nn.Linear(feature_size, width)
        self.from_code = nn.Linear(code_size, width, bias=False)
        self.to_affine = nn.Linear(width, 6)
        nn.init.zeros_(self.to_affine.weight)
        nn.init.zeros_(self.to_affine.bias)
        self.sky = nn.Sequential(
            nn.Linear(code_size + 9, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 3)
        )

    def tint(self, colour_logits: Tensor, features: Tensor, code: Tensor) -> Tensor:
        """Colours in [0, 1], [N, 3]: sigmoid of an affine change of the logits [N, 3]; neutral before training."""
        hidden = F.silu(self.from_feature(features) + self.from_code(code))
        gain, bias = self.to_affine(hidden).chunk(2, dim=1)
        return torch.sigmoid(colour_logits * (1 + gain) + bias)

    def background(self, view: View, code: Tensor) -> Tensor:
        """The sky behind everything, [H, W, 3] in [0, 1]: a smooth function of the direction and the code."""
        rows, columns = -(-view.height // SKY_STEP), -(-view.width // SKY_STEP)
        coarse = view.resized(columns, rows)
        x = (torch.arange(columns, device=code.device) + 0.5 - coarse.cx) / coarse.fx
        y = (torch.arange(rows, device=code.device) + 0.5 - coarse.cy) / coarse.fy
        plane = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
        rays = torch.cat([plane, torch.ones_like(plane[..., :1])], dim=-1)
        directions = F.normalize(rays @ view.camera_to_world[:, :3].T.to(rays), dim=-1)
        waves = torch.cat([directions, torch.sin(3 * directions), torch.cos(3 * directions)], dim=-1)
        given = torch.cat([waves, code.expand(rows, columns, -1)], dim=-1)
        sky = torch.sigmoid(self.sky(given)).permute(2, 0, 1)[None]
        return F.interpolate(sky, (view.height, view.width), mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
