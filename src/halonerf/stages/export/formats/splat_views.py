"""Splats seen from the photos' views: their depth, their numbers, and which way they face."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from halonerf.rotations import matrices
from halonerf.splatting.rasterise import lift, rasterise
from halonerf.types import Splats, View

SOLID = 0.8  # opacity from which a pixel shows a surface: below, its depth is that of haze
EDGE = 0.04  # of the depth: a pixel whose neighbours differ by more lies between a near thing and what is behind it
LOOK = 160  # px, long side of the pictures that say which side of a splat is seen


class SplatView(NamedTuple):
    """depth: [H, W], world units along the optical axis, 0 where no surface is shown. numbers: [H, W, C]."""

    depth: Tensor
    numbers: Tensor


@torch.no_grad()
def render_splats(splats: Splats, numbers: Tensor, view: View) -> SplatView:
    """What a view shows of splats with numbers [N, C]: means over each pixel's splats, only where there is a surface.

    Pixels at the edge of something near show no one depth, and are left out.
    """
    device = splats.centres.device
    raster = rasterise(
        splats.centres, splats.scales, splats.rotations, splats.opacities, numbers.to(device), view.to(device)
    )
    opacity = raster.opacity.clamp(min=1e-6)
    depth = raster.depth / opacity
    deep = depth[None, None]
    spread = F.max_pool2d(deep, 3, 1, 1) + F.max_pool2d(-deep, 3, 1, 1)
    solid = (opacity > SOLID) & (spread[0, 0] < EDGE * depth)
    return SplatView(torch.where(solid, depth, 0.0).cpu(), (raster.features / opacity[..., None]).cpu())


@torch.no_grad()
def outward_normals(splats: Splats, views: Sequence[View]) -> Tensor:
    """The shortest axis of each splat, [N, 3], unit length, world frame, turned to the cameras that see most of it.

    Splats that no camera sees are turned to the middle of all cameras.
    """
    device = splats.centres.device
    towards = 1e-6 * F.normalize(torch.stack([v.centre for v in views]).mean(dim=0).to(device) - splats.centres, dim=1)
    shape = (splats.centres, splats.scales, splats.rotations, splats.opacities)
    for view in views:
        small = view.within(LOOK).to(device)
        seen = lift(*shape, torch.ones(small.height, small.width, 1, device=device), small)
        towards += seen * F.normalize(small.centre - splats.centres, dim=1)
    shortest = splats.scales.argmin(dim=1)
    axes = matrices(splats.rotations).gather(2, shortest[:, None, None].expand(-1, 3, 1))[..., 0]
    return torch.where((axes * towards).sum(dim=1, keepdim=True) < 0, -axes, axes).cpu()
