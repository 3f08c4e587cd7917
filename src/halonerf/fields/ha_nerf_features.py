"""What a NeRF knows of a place, its fine network's last layer, for those who learn meaning from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from halonerf.fields.ha_nerf_rays import Pair, Rays
from halonerf.volume import composite

LAYERS = 8  # of the trunk's width that are in memory while a sample is asked and learnt from, about


@torch.no_grad()
def features_at(networks: Pair, points: Tensor, together: int) -> Tensor:
    """The feature at points [N, 3], world frame: [N, width]; zero where a point is NaN. together: points at once."""
    features = []
    for place in points.split(together):
        known = place.isfinite().all(dim=1)
        found = networks.fine(networks.scale * place.nan_to_num(0.0))[1]
        features.append(torch.where(known[:, None], found, 0.0))
    return torch.cat(features)


def shaded(
    networks: Pair, chunks: Iterable[Rays], samples: int, function: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """`function` of the feature [N, width] to [N, P] at each sample, composited: [R, P], and opacity [R].

    Where gradients are kept, a chunk of rays is worked out again for its own, so that memory stays that of one chunk.
    """

    def chunk(rays: Rays) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            found = networks.march(rays, samples, chance=None, colour=False)
        values = function(found.feature).view(*found.weights.shape, -1)
        return composite(found.weights, values), found.weights.sum(dim=1).clamp(max=1)

    if torch.is_grad_enabled():
        shown = [checkpoint(chunk, rays, use_reentrant=False) for rays in chunks]
    else:
        shown = [chunk(rays) for rays in chunks]
    return torch.cat([values for values, _ in shown]), torch.cat([opacity for _, opacity in shown])
