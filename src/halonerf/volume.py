"""Volume rendering along rays: sample positions, weights from density, and composites.

Vocabulary, over R rays and S samples: `t` [R, S], distances of the samples along their ray, increasing; `edges`
[R, S + 1], the samples and the end of the last one's interval; `weights` [R, S], each sample's share of its ray's
colour.
"""

from __future__ import annotations

import torch
from torch import Tensor


def stratified(near: Tensor, far: Tensor, samples: int, places: Tensor | None = None) -> Tensor:
    """Sample positions, one in each of `samples` equal parts of every ray (Mildenhall et al., NeRF, 2020, eq. 2).

    Args:
        near, far: [R], near < far.
        places: [R, S] in [0, 1], of the samples in their parts; None: the middle.
    Returns: t, [R, S], increasing.
    """
    places = near.new_full((len(near), samples), 0.5) if places is None else places.to(near)
    share = (torch.arange(samples, device=near.device) + places) / samples
    return near[:, None] + (far - near)[:, None] * share


def importance(edges: Tensor, weights: Tensor, samples: int, places: Tensor | None = None) -> Tensor:
    """Sample positions drawn from piecewise-constant densities by inversion (NeRF, section 5.2).

    Args:
        edges: [R, B + 1], of the bins, increasing. weights: [R, B], of the bins, non-negative, of any sum; 1e-5 is
            added to each, so that a ray of zeros is sampled evenly.
        places: [R, S] in [0, 1], of the quantiles in their equal parts; None: the middle of each.
    Returns: t, [R, S], increasing; not differentiable.
    """
    with torch.no_grad():
        share = weights + 1e-5
        share = share / share.sum(dim=1, keepdim=True)
        reached = torch.cat([torch.zeros_like(share[:, :1]), share.cumsum(dim=1)], dim=1)
        zero = torch.zeros_like(reached[:, 0])
        quantiles = stratified(zero, zero + 1, samples, places) * reached[:, -1:]
        upper = torch.searchsorted(reached, quantiles, right=True).clamp(1, weights.shape[1])
        before, after = reached.gather(1, upper - 1), reached.gather(1, upper)
        left, right = edges.gather(1, upper - 1), edges.gather(1, upper)
        inside = ((quantiles - before) / (after - before).clamp(min=1e-12)).clamp(0, 1)
        return left + inside * (right - left)


def ray_weights(density: Tensor, edges: Tensor) -> Tensor:
    """Weights of the samples, T_i (1 - exp(-density_i length_i)), [R, S] (NeRF, eq. 3).

    Args:
        density: [R, S], per unit of `edges`, non-negative.
        edges: [R, S + 1], increasing.
    Returns: non-negative; a ray's sum is 1 minus its transmittance, its opacity.
    """
    depth = density * (edges[:, 1:] - edges[:, :-1])
    passed = torch.cat([torch.zeros_like(depth[:, :1]), depth[:, :-1].cumsum(dim=1)], dim=1)
    return torch.exp(-passed) * -torch.expm1(-depth)


def composite(weights: Tensor, values: Tensor) -> Tensor:
    """Weighted sum of values along rays, [R, C]; zeros, not background, for an empty ray.

    weights: [R, S]. values: [R, S, C].
    """
    return (weights[:, None] @ values)[:, 0]
