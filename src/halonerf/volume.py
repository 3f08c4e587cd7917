"""Volume rendering along rays: sample positions, weights from density, and composites.

Vocabulary, over R rays and S samples: `t` [R, S], distances of the samples along their ray, increasing; `edges`
[R, S + 1], the samples and the end of the last one's interval; `weights` [R, S], each sample's share of its ray's
colour.
"""

from __future__ import annotations

import torch
from torch import Tensor


def stratified(near: Tensor, far: Tensor, samples: int, places: Tensor | None = None) -> Tensor:
    """Evenly spaced sample positions from near to far, each moved within the part that is nearest to it.

    The parts end in the middle between two positions, so that the first and the last are half as long as the others: as
    NeRF's published code has it (Mildenhall et al., 2020, eq. 2 has equal parts).

    Args:
        near, far: [R], near < far.
        samples: S, at least 2.
        places: [R, S] in [0, 1], of the samples in their parts; None: the evenly spaced positions.
    Returns: t, [R, S], increasing.
    """
    share = torch.linspace(0, 1, samples, dtype=near.dtype, device=near.device)[None]
    if places is not None:
        middle = (share[:, 1:] + share[:, :-1]) / 2
        start, end = torch.cat([share[:, :1], middle], dim=1), torch.cat([middle, share[:, -1:]], dim=1)
        share = start + (end - start) * places.to(near)
    return near[:, None] + (far - near)[:, None] * share


def importance(edges: Tensor, weights: Tensor, samples: int, places: Tensor | None = None) -> Tensor:
    """Sample positions drawn from piecewise-constant densities by inversion (NeRF, section 5.2).

    Args:
        edges: [R, B + 1], of the bins, increasing. weights: [R, B], of the bins, non-negative, of any sum; 1e-5 is
            added to each, so that a ray of zeros is sampled evenly.
        places: [R, S] in [0, 1], the quantiles, in any order; None: evenly spaced from 0 to 1.
    Returns: t, [R, S], in the order of the quantiles; not differentiable.
    """
    with torch.no_grad():
        share = weights + 1e-5
        share = share / share.sum(dim=1, keepdim=True)
        reached = torch.cat([torch.zeros_like(share[:, :1]), share.cumsum(dim=1)], dim=1)
        even = torch.linspace(0, 1, samples, dtype=weights.dtype, device=weights.device).expand(len(weights), -1)
        quantiles = ((even if places is None else places.to(weights)) * reached[:, -1:]).contiguous()
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
