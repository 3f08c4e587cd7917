"""Aggregation over photos of lifted maps: the mean, or a robust mean of each photo's lift."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from halonerf.lifting import lift_weighted, ratio
from halonerf.protocols import RadianceField
from halonerf.types import View

BYTES_PER_VALUE = 6  # of a photo's lift: its value in half precision, its support in single


def mean_lift(
    field: RadianceField, views: Sequence[View], predict: Callable[[int], Tensor], weights: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Mean over all pixels of all photos and its support, (A^T w p) / (A^T w) and A^T w, [E, P] each.

    predict: the maps [H, W, P] of the i-th photo; called once for each. weights: [H, W, P] per view, non-negative.
    """
    sums, support = lift_weighted(field, views[0], predict(0), weights[0])
    for i in range(1, len(views)):
        more = lift_weighted(field, views[i], predict(i), weights[i])
        sums, support = sums + more[0], support + more[1]
    return ratio(sums, support), support


def robust_lift(
    field: RadianceField,
    views: Sequence[View],
    predict: Callable[[int], Tensor],
    weights: Sequence[Tensor],
    aggregate: Callable[[Tensor, Tensor], Tensor],
    memory_mb: float,
) -> tuple[Tensor, Tensor]:
    """As `mean_lift`, but the photos' own means are combined by `aggregate` (`halonerf.heads.robust`), [E, P] each.

    Args:
        aggregate: values [V, E, C] of V photos and their support [V, E, C] -> [E, C].
        memory_mb: MB that the photos' lifts may take; concepts are lifted in groups that fit, of one at least, and
            each group costs one more pass over the photos.
    """
    count = weights[0].shape[-1]
    group = max(1, int(memory_mb * 1e6 / (BYTES_PER_VALUE * len(views) * max(field.elements, 1))))
    value, support = torch.zeros(field.elements, count), torch.zeros(field.elements, count)
    for first in range(0, count, group):
        part = slice(first, min(first + group, count))
        shape = (len(views), field.elements, part.stop - part.start)
        values, supports = torch.zeros(shape, dtype=torch.float16), torch.zeros(shape)
        for i, view in enumerate(views):
            sums, supports[i] = lift_weighted(field, view, predict(i)[..., part], weights[i][..., part])
            values[i] = ratio(sums, supports[i])
        value[:, part] = aggregate(values, supports)
        support[:, part] = supports.sum(dim=0)
    return value, support


def lifted_support(field: RadianceField, views: Sequence[View], weights: Sequence[Tensor]) -> Tensor:
    """Support of every element, A^T w, [E, P], in fully opaque pixels. weights: [H, W, P] per view."""
    return mean_lift(field, views, lambda i: torch.zeros_like(weights[i]), weights)[1]
