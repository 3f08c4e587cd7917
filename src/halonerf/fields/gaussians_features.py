"""What a Gaussian knows of itself, for those who learn meaning from it: place, answer to light, colour."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from halonerf.fields.ha_nerf_network import frequencies
from halonerf.splatting.constants import ALPHA_MIN, BLUR, NEAR, slope_limits
from halonerf.types import View

OCTAVES = 7  # of the place: waves from 6 down to 0.1 world units long, a few of the Gaussians that a wall is made of


def feature_width(feature_size: int) -> int:
    """Numbers in `features_of`, where a Gaussian's learnt feature has `feature_size`."""
    return 3 * (1 + 2 * OCTAVES) + feature_size + 3


def features_of(means: Tensor, features: Tensor, colour_logits: Tensor) -> Tensor:
    """Means [N, 3], world units, encoded in octaves; learnt features [N, F]; colours in neutral light: side by side."""
    return torch.cat([frequencies(means, OCTAVES), features, torch.sigmoid(colour_logits)], dim=1)


@torch.no_grad()
def in_picture(means: Tensor, scales: Tensor, view: View) -> Tensor:
    """Indices, increasing, of Gaussians that may be drawn in a view: all that are, and few others.

    A Gaussian ends where it is fainter than an eighth bit shows, r = sqrt(2 ln 255) standard deviations away at
    most; on the picture, one is no longer than the largest of `scales` times the norm of the projection's Jacobian.

    means: [N, 3], scales: [N, 3], world units.
    """
    pose = view.world_to_camera.to(means)
    x, y, z = (means @ pose[:, :3].T + pose[:, 3]).unbind(dim=1)
    ahead = z > NEAR
    z = torch.where(ahead, z, torch.ones_like(z))
    left, right, top, bottom = slope_limits(view)
    slopes = (x / z).clamp(left, right) ** 2 + (y / z).clamp(top, bottom) ** 2
    long = max(view.fx, view.fy) / z * scales.amax(dim=1)
    reach = math.sqrt(-2 * math.log(ALPHA_MIN)) * torch.sqrt(long**2 * (1 + slopes) + BLUR) + 1
    u, v = view.fx * x / z + view.cx, view.fy * y / z + view.cy
    near = (u > -reach) & (u < view.width + reach) & (v > -reach) & (v < view.height + reach)
    return (ahead & near).nonzero()[:, 0]
