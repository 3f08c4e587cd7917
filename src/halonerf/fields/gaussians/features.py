"""Features of Gaussians as semantic heads read them, and which Gaussians a view may show."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from halonerf.fields.ha_nerf.network import frequencies
from halonerf.splatting.constants import ALPHA_MIN, BLUR, NEAR, slope_limits
from halonerf.types import View

OCTAVES = 7  # of the encoded mean: wavelengths from 6 down to 0.1 world units, a few of the Gaussians of a wall


def feature_width(feature_size: int) -> int:
    """Width of `element_features` for learnt features of `feature_size` numbers."""
    return 3 * (1 + 2 * OCTAVES) + feature_size + 3


def element_features(means: Tensor, features: Tensor, colour_logits: Tensor) -> Tensor:
    """Encoded means, learnt features and colours of Gaussians side by side, [N, `feature_width`].

    means: [N, 3], world units. features: [N, F]. colour_logits: [N, 3], before any appearance code.
    """
    return torch.cat([frequencies(means, OCTAVES), features, torch.sigmoid(colour_logits)], dim=1)


@torch.no_grad()
def visible_gaussians(means: Tensor, scales: Tensor, view: View) -> Tensor:
    """Indices [M], increasing, of the Gaussians that a view may show: all that are drawn, and few others.

    A Gaussian ends where its alpha is below 1/255, at most r = sqrt(2 ln 255) standard deviations from its centre; its
    projection is no longer than its largest scale times the norm of the projection's Jacobian.

    means, scales: [N, 3], world units.
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
    inside = (u > -reach) & (u < view.width + reach) & (v > -reach) & (v < view.height + reach)
    return (ahead & inside).nonzero()[:, 0]
