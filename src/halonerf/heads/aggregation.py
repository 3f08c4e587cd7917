"""What photos say about elements: A^T of their maps, row by row of A the elements' shares of a pixel's light."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from halonerf.lifting import lift_weighted, ratio
from halonerf.protocols import RadianceField
from halonerf.types import View

VOTE_BYTES = 6  # kept of a photo's word on an element: half precision for what, single for how many pixels


def mean_lift(
    field: RadianceField, views: Sequence[View], say: Callable[[int], Tensor], weights: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Mean over all pixels of all photos, and how many pixels that is: (A^T w p) / (A^T w) and A^T w, [E, P] each.

    say: what the i-th photo says, [H, W, P]; asked once for each. weights: [H, W, P].
    """
    said, support = lift_weighted(field, views[0], say(0), weights[0])
    for i in range(1, len(views)):
        more = lift_weighted(field, views[i], say(i), weights[i])
        said, support = said + more[0], support + more[1]
    return ratio(said, support), support


def robust_lift(
    field: RadianceField,
    views: Sequence[View],
    say: Callable[[int], Tensor],
    weights: Sequence[Tensor],
    agree: Callable[[Tensor, Tensor], Tensor],
    memory_mb: float,
) -> tuple[Tensor, Tensor]:
    """As `mean_lift`, but `agree` says what photos agree on that are asked one by one (`halonerf.heads.robust`).

    agree: votes [V, E, C] and how many pixels stand for each to an answer [E, C]. memory_mb: MB that the photos'
    votes may take; as many concepts are gathered together as fit, one at the least, and every group costs one more
    pass over the photos.
    """
    count = weights[0].shape[-1]
    together = max(1, int(memory_mb * 1e6 / (VOTE_BYTES * len(views) * max(field.elements, 1))))
    value, support = torch.zeros(field.elements, count), torch.zeros(field.elements, count)
    for first in range(0, count, together):
        part = slice(first, min(first + together, count))
        shape = (len(views), field.elements, part.stop - part.start)
        votes, supports = torch.zeros(shape, dtype=torch.float16), torch.zeros(shape)
        for i, view in enumerate(views):
            said, supports[i] = lift_weighted(field, view, say(i)[..., part], weights[i][..., part])
            votes[i] = ratio(said, supports[i])
        value[:, part] = agree(votes, supports)
        support[:, part] = supports.sum(dim=0)
    return value, support


def lifted_support(field: RadianceField, views: Sequence[View], weights: Sequence[Tensor]) -> Tensor:
    """How many fully opaque pixels said something about each element, A^T w: [E, P]."""
    return mean_lift(field, views, lambda i: torch.zeros_like(weights[i]), weights)[1]
