"""Volume rendering along rays: where to sample, density -> weights -> composites.

Vocabulary, over R rays and S samples: `t` [R, S], distance of the samples along their ray, increasing; `edges`
[R, S + 1], the samples and the end of the last one's interval; `weights` [R, S], the share of a ray's light that
each sample stops.
"""

from __future__ import annotations

import torch
from torch import Tensor


def stratified(near: Tensor, far: Tensor, samples: int, generator: torch.Generator | None = None) -> Tensor:
    """One sample in each of `samples` equal parts of every ray (Mildenhall et al., NeRF, 2020, eq. 2).

    Args:
        near, far: [R], near < far.
        generator: where in its part a sample lies; None: in the middle.
    Returns: t, [R, S], increasing.
    """
    shape = (len(near), samples)
    place = torch.full(shape, 0.5) if generator is None else torch.rand(shape, generator=generator)
    share = (torch.arange(samples, device=near.device) + place.to(near)) / samples
    return near[:, None] + (far - near)[:, None] * share


def importance(edges: Tensor, weights: Tensor, samples: int, generator: torch.Generator | None = None) -> Tensor:
    """Samples of the piecewise-constant density that `weights` give the bins, by inversion (NeRF, section 5.2).

    Args:
        edges: [R, B + 1], of the bins, increasing. weights: [R, B], non-negative, of any sum; a little is added to
            each, so that a ray without any is sampled evenly.
        generator: stratified chance; None: evenly spaced quantiles, the same on every call.
    Returns: t, [R, S], increasing; not differentiable.
    """
    with torch.no_grad():
        share = weights + 1e-5
        share = share / share.sum(dim=1, keepdim=True)
        reached = torch.cat([torch.zeros_like(share[:, :1]), share.cumsum(dim=1)], dim=1)
        zero = torch.zeros_like(reached[:, 0])
        wanted = stratified(zero, zero + 1, samples, generator) * reached[:, -1:]
        upper = torch.searchsorted(reached, wanted, right=True).clamp(1, weights.shape[1])
        before, after = reached.gather(1, upper - 1), reached.gather(1, upper)
        left, right = edges.gather(1, upper - 1), edges.gather(1, upper)
        inside = ((wanted - before) / (after - before).clamp(min=1e-12)).clamp(0, 1)
        return left + inside * (right - left)


def ray_weights(density: Tensor, edges: Tensor) -> Tensor:
    """The share of a ray's light that each sample stops: T_i (1 - exp(-density_i length_i)) (NeRF, eq. 3).

    Args:
        density: [R, S], per unit of `edges`, non-negative.
        edges: [R, S + 1], increasing.
    Returns: [R, S], non-negative; a ray's sum to 1 minus the share that passes all of it.
    """
    depth = density * (edges[:, 1:] - edges[:, :-1])
    passed = torch.cat([torch.zeros_like(depth[:, :1]), depth[:, :-1].cumsum(dim=1)], dim=1)
    return torch.exp(-passed) * -torch.expm1(-depth)


def composite(weights: Tensor, values: Tensor) -> Tensor:
    """Sum along rays of values [R, S, C] by their weights [R, S]: [R, C]. An empty ray gives zeros, not background."""
    return (weights[:, None] @ values)[:, 0]
