"""Splats in the photos' views: depth maps, mean values per pixel, and outward normals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from halonerf.rotations import matrices
from halonerf.splatting.rasterise import lift, rasterise
from halonerf.types import Splats, View

MIN_OPACITY = 0.8  # of a pixel that shows a surface: the depth of others is that of haze
EDGE = 0.04  # of the depth: a pixel whose neighbours differ by more lies on an occlusion boundary
NORMAL_SIZE = 160  # px, long side of the views that tell which side of a splat is visible


class SplatView(NamedTuple):
    """depth: [H, W], world units along the optical axis, 0 where there is no surface. values: [H, W, C]."""

    depth: Tensor
    values: Tensor


@torch.no_grad()
def render_splats(splats: Splats, values: Tensor, view: View) -> SplatView:
    """Depth and opacity-weighted mean of `values` [N, C] in each pixel of a view.

    The depth is 0 in pixels below `MIN_OPACITY`, and on occlusion boundaries, where it mixes two surfaces.
    """
    device = splats.centres.device
    raster = rasterise(
        splats.centres, splats.scales, splats.rotations, splats.opacities, values.to(device), view.to(device)
    )
    opacity = raster.opacity.clamp(min=1e-6)
    depth = raster.depth / opacity
    image = depth[None, None]
    spread = F.max_pool2d(image, 3, 1, 1) + F.max_pool2d(-image, 3, 1, 1)  # largest minus smallest neighbour
    surface = (opacity > MIN_OPACITY) & (spread[0, 0] < EDGE * depth)
    return SplatView(torch.where(surface, depth, 0.0).cpu(), (raster.features / opacity[..., None]).cpu())


@torch.no_grad()
def outward_normals(splats: Splats, views: Sequence[View]) -> Tensor:
    """The shortest axis of each splat, [N, 3], unit vectors, world frame, oriented to the cameras that see most of it.

    Splats that no camera sees are oriented to the mean of the cameras' centres.
    """
    device = splats.centres.device
    towards = 1e-6 * F.normalize(torch.stack([v.centre for v in views]).mean(dim=0).to(device) - splats.centres, dim=1)
    shape = (splats.centres, splats.scales, splats.rotations, splats.opacities)
    for view in views:
        small = view.within(NORMAL_SIZE).to(device)
        seen = lift(*shape, torch.ones(small.height, small.width, 1, device=device), small)
        towards += seen * F.normalize(small.centre - splats.centres, dim=1)
    shortest = splats.scales.argmin(dim=1)
    axes = matrices(splats.rotations).gather(2, shortest[:, None, None].expand(-1, 3, 1))[..., 0]
    return torch.where((axes * towards).sum(dim=1, keepdim=True) < 0, -axes, axes).cpu()
