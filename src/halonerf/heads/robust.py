"""What votes of different weight agree on when some of them are wrong: trimmed means, medians, and who agrees.

Votes in increasing order lie side by side on a line, each as long as its weight. A share of the line's length is cut
off at both ends and the rest averaged: a vote that the cut goes through counts for what is left of it, so the answer
is continuous in votes and weights, and that of 1 - p is one minus that of p. Wrong votes of less weight than is cut
off cannot carry the answer beyond the right ones (the breakdown point; Huber & Ronchetti, Robust Statistics, 2009,
section 3.3).
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 2**21  # votes handled at once: about 80 MB
ROUNDS = 3  # of finding who agrees: measured to have settled by then


def robust_mean(votes: Tensor, weights: Tensor, trim: float) -> Tensor:
    """One answer for each column of votes, [E, P]; 0 where nobody voted.

    Args:
        votes: [V, E, P], of any real type. weights: [V, E, P], non-negative; votes without weight do not exist.
        trim: share of a column's weight that is cut off at either end, in [0, 0.5]; 0: the weighted mean, 0.5: the
            weighted median.
    """
    photos, elements, count = votes.shape
    step = max(1, BLOCK // max(photos * count, 1))
    answer = torch.zeros(elements, count)
    for first in range(0, elements, step):
        part = slice(first, first + step)
        given = votes[:, part].float().flatten(1).T.contiguous()
        weight = weights[:, part].float().flatten(1).T.contiguous()
        found = weighted_median(given, weight) if trim >= 0.5 else trimmed_mean(given, weight, trim)
        answer[part] = found.view(-1, count)
    return answer


def consensus_mean(votes: Tensor, weights: Tensor, tolerance: float) -> Tensor:
    """The mean of those who agree, [E, P]: where a voter is wrong, it is mostly wrong about everything.

    A voter's distance from the answer, a mean over all it votes on (for each concept by itself), lowers its weight by
    1 / (1 + (distance / (tolerance * median distance))^4); the answer is the median of all at first, then the
    weighted mean (iteratively reweighted, as M-estimators are; Huber & Ronchetti, section 7.8).

    Args:
        votes, weights: [V, E, P], as of `robust_mean`.
        tolerance: distance at which a voter counts half, in median distances of all voters.
    """
    answer = robust_mean(votes, weights, 0.5)
    for _ in range(ROUNDS):
        trust = photo_trust(votes, weights, answer, tolerance)
        said, whole = torch.zeros_like(answer), torch.zeros_like(answer)
        for vote, weight, share in zip(votes, weights, trust, strict=True):
            said += share * weight * vote
            whole += share * weight
        answer = torch.where(whole > 0, said / whole.clamp(min=1e-30), 0.0)
    return answer


def photo_trust(votes: Tensor, weights: Tensor, answer: Tensor, tolerance: float) -> Tensor:
    """How much each voter's word on each concept is worth, [V, P] in [0, 1], given an answer [E, P]."""
    said = torch.stack([weight.sum(dim=0) for weight in weights])
    wrong = torch.stack([(w * (v - answer).abs()).sum(dim=0) for v, w in zip(votes, weights, strict=True)])
    distance = torch.where(said > 0, wrong / said.clamp(min=1e-30), torch.nan)
    usual = distance.nanmedian(dim=0).values.nan_to_num(0.0).clamp(min=1e-4)  # what half precision rounds is no error
    return (1 / (1 + (distance / (tolerance * usual)) ** 4)).nan_to_num(0.0)


def trimmed_mean(votes: Tensor, weights: Tensor, trim: float) -> Tensor:
    """Of every row of votes [N, V], by weights [N, V]: [N]. trim: share cut off at either end, in [0, 0.5)."""
    votes, weights, reached, total = _in_order(votes, weights)
    kept = torch.minimum(reached, (1 - trim) * total) - torch.maximum(reached - weights, trim * total)
    kept = kept.clamp(min=0)
    whole = kept.sum(dim=1)
    return torch.where(whole > 0, (kept * votes).sum(dim=1) / whole.clamp(min=1e-30), 0.0)


def weighted_median(votes: Tensor, weights: Tensor) -> Tensor:
    """Of every row of votes [N, V], by weights [N, V]: [N]; between the middles of two votes it is interpolated."""
    votes, weights, reached, total = _in_order(votes, weights)
    middle = reached - weights / 2
    upper = (middle < total / 2).sum(dim=1, keepdim=True).clamp(max=votes.shape[1] - 1)
    lower = (upper - 1).clamp(min=0)
    before, after = middle.gather(1, lower), middle.gather(1, upper)
    share = ((total / 2 - before) / (after - before).clamp(min=1e-30)).clamp(0, 1)
    low, high = votes.gather(1, lower), votes.gather(1, upper)
    return torch.where(total > 0, low + share * (high - low), 0.0)[:, 0]


def _in_order(votes: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Votes and weights [N, V] in increasing order, those without weight last; where each ends [N, V]; total [N, 1]."""
    order = torch.where(weights > 0, votes, torch.inf).argsort(dim=1, stable=True)
    votes, weights = votes.gather(1, order), weights.gather(1, order)
    reached = weights.cumsum(dim=1)
    return votes, weights, reached, reached[:, -1:]
