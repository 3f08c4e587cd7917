"""Robust means of weighted votes, some of which are wrong: trimmed means, medians, and reweighting of whole voters.

A voter is a photo; its vote on an element and concept is its lifted probability, and the vote's weight the support.
Sorted votes lie side by side on a line, each as long as its weight. A share of the line's length is cut off at both
ends and the rest averaged. A vote that is cut counts with its remaining length, so the result is continuous in votes
and weights, and that of 1 - p is one minus that of p. Wrong votes of less weight than is cut off cannot move the
result beyond the right ones (the breakdown point; Huber & Ronchetti, Robust Statistics, 2009, section 3.3).
"""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK_VOTES = 2**21  # processed at once: about 80 MB
CONSENSUS_ITERATIONS = 3  # measured to have converged by then


def robust_mean(votes: Tensor, weights: Tensor, trim: float) -> Tensor:
    """Trimmed mean over voters of each element and concept, [E, P]; 0 where all weights are 0.

    Args:
        votes: [V, E, P], of any real type. weights: [V, E, P], non-negative.
        trim: share of the weight that is cut off at either end, in [0, 0.5]; 0: the weighted mean, 0.5: the weighted
            median.
    """
    photos, elements, count = votes.shape
    step = max(1, CHUNK_VOTES // max(photos * count, 1))
    result = torch.zeros(elements, count)
    for first in range(0, elements, step):
        part = slice(first, first + step)
        vote = votes[:, part].float().flatten(1).T.contiguous()
        weight = weights[:, part].float().flatten(1).T.contiguous()
        mean = weighted_median(vote, weight) if trim >= 0.5 else trimmed_mean(vote, weight, trim)
        result[part] = mean.view(-1, count)
    return result


def consensus_mean(votes: Tensor, weights: Tensor, tolerance: float) -> Tensor:
    """Mean of the voters that agree with the others, [E, P], each concept by itself; 0 where all weights are 0.

    A voter that is wrong is mostly wrong about everything. Its distance from the result, a mean over its elements,
    lowers its weight by 1 / (1 + (distance / (tolerance * median distance))^4). The result starts as the weighted
    median and is then the weighted mean (iterative reweighting, as of M-estimators; Huber & Ronchetti, section 7.8).

    Args:
        votes, weights: [V, E, P], as of `robust_mean`.
        tolerance: distance at which a voter has half its weight, in units of the voters' median distance.
    """
    result = robust_mean(votes, weights, 0.5)
    for _ in range(CONSENSUS_ITERATIONS):
        trust = photo_trust(votes, weights, result, tolerance)
        sums, whole = torch.zeros_like(result), torch.zeros_like(result)
        for vote, weight, share in zip(votes, weights, trust, strict=True):
            sums += share * weight * vote
            whole += share * weight
        result = torch.where(whole > 0, sums / whole.clamp(min=1e-30), 0.0)
    return result


def photo_trust(votes: Tensor, weights: Tensor, result: Tensor, tolerance: float) -> Tensor:
    """Factor on the weight of each voter and concept, [V, P] in [0, 1]: see `consensus_mean`.

    votes, weights: [V, E, P]. result: [E, P], from which distances are measured.
    """
    whole = torch.stack([weight.sum(dim=0) for weight in weights])
    error = torch.stack([(w * (v - result).abs()).sum(dim=0) for v, w in zip(votes, weights, strict=True)])
    distance = torch.where(whole > 0, error / whole.clamp(min=1e-30), torch.nan)
    median = distance.nanmedian(dim=0).values.nan_to_num(0.0).clamp(min=1e-4)  # votes are rounded to half precision
    return (1 / (1 + (distance / (tolerance * median)) ** 4)).nan_to_num(0.0)


def trimmed_mean(votes: Tensor, weights: Tensor, trim: float) -> Tensor:
    """Trimmed mean of each row, [N]. votes, weights: [N, V]. trim: share of weight cut at either end, in [0, 0.5)."""
    votes, weights, reached, total = _sorted_votes(votes, weights)
    kept = torch.minimum(reached, (1 - trim) * total) - torch.maximum(reached - weights, trim * total)
    kept = kept.clamp(min=0)
    whole = kept.sum(dim=1)
    return torch.where(whole > 0, (kept * votes).sum(dim=1) / whole.clamp(min=1e-30), 0.0)


def weighted_median(votes: Tensor, weights: Tensor) -> Tensor:
    """Weighted median of each row, [N], interpolated between the middles of two votes. votes, weights: [N, V]."""
    votes, weights, reached, total = _sorted_votes(votes, weights)
    middle = reached - weights / 2
    upper = (middle < total / 2).sum(dim=1, keepdim=True).clamp(max=votes.shape[1] - 1)
    lower = (upper - 1).clamp(min=0)
    before, after = middle.gather(1, lower), middle.gather(1, upper)
    share = ((total / 2 - before) / (after - before).clamp(min=1e-30)).clamp(0, 1)
    low, high = votes.gather(1, lower), votes.gather(1, upper)
    return torch.where(total > 0, low + share * (high - low), 0.0)[:, 0]


def _sorted_votes(votes: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Votes and weights [N, V] sorted by vote, weights of 0 last; cumulative weights [N, V]; total weights [N, 1]."""
    order = torch.where(weights > 0, votes, torch.inf).argsort(dim=1, stable=True)
    votes, weights = votes.gather(1, order), weights.gather(1, order)
    reached = weights.cumsum(dim=1)
    return votes, weights, reached, reached[:, -1:]
