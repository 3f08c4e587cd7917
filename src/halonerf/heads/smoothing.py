"""Neighbours of one colour mean the same thing: evidence shared between elements that lie side by side."""

from __future__ import annotations

import torch
from scipy.spatial import cKDTree
from torch import Tensor

ROUNDS = 3  # evidence travels over so many neighbours
UNLIKE = 0.15  # difference of two colours, each in [0, 1]^3, that lowers what they share to exp(-1/2)


def smoothed(
    value: Tensor, support: Tensor, centres: Tensor, colours: Tensor, strength: float, neighbours: int
) -> Tensor:
    """v_i <- (s_i v0_i + strength sum_j k_ij s_j v_j) / (s_i + strength sum_j k_ij s_j), a few times over: [E, P].

        k_ij = exp(-|x_i - x_j|^2 / 2 h_i^2) exp(-|c_i - c_j|^2 / 2 UNLIKE^2),

    j the nearest neighbours of i, h_i their mean distance: a bilateral filter on elements (Tomasi & Manduchi, 1998)
    that weighs by the pixels that spoke. Elements with no support, or no place, neither give nor take.

    Args:
        value, support: [E, P], probabilities v0 and pixels s that spoke. centres: [E, 3], world units, NaN for an
            element that is in no one place. colours: [E, 3].
        strength: how much a neighbour's pixel counts beside an element's own. neighbours: how many.
    """
    takes = (centres.isfinite().all(dim=1) & (support > 0).any(dim=1)).nonzero()[:, 0]
    if len(takes) < 2:
        return value
    places = centres[takes].double().numpy()
    found = cKDTree(places).query(places, k=min(neighbours + 1, len(takes)))
    distance, near = (torch.from_numpy(table[:, 1:].copy()) for table in found)
    width = distance.mean(dim=1, keepdim=True).clamp(min=1e-9)
    colour = colours[takes]
    apart = ((colour[near] - colour[:, None]) ** 2).sum(dim=2)
    kernel = strength * (torch.exp(-0.5 * (distance / width) ** 2) * torch.exp(-0.5 * apart / UNLIKE**2)).float()
    own, start = support[takes], value[takes]
    now = start
    for _ in range(ROUNDS):
        said, pixels = own * start, own.clone()
        for k in range(near.shape[1]):  # one neighbour at a time: [E, k, P] would not fit for many concepts
            share = kernel[:, k, None] * own[near[:, k]]
            said, pixels = said + share * now[near[:, k]], pixels + share
        now = torch.where(own > 0, said / pixels.clamp(min=1e-12), start)
    result = value.clone()
    result[takes] = now
    return result
