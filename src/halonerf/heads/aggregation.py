"""Aggregation over photos of lifted maps: the mean, a robust mean of each photo's lift, sums of feature maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from halonerf.lifting import lift_weighted, ratio
from halonerf.protocols import RadianceField
from halonerf.types import View

CHUNK_CHANNELS = 32  # of feature maps, lifted or rendered at once
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


@torch.no_grad()
def lift_feature_maps(
    field: RadianceField, views: Iterable[View], maps: Iterable[Tensor], weights: Iterable[Tensor]
) -> tuple[Tensor, Tensor]:
    """Weighted sums of feature maps over all photos, A^T (w f), [E, D], and their support A^T w, [E], on the CPU.

    Args:
        maps: f, [D, h, w] per view, resampled to the view. weights: w, [H, W] per view, non-negative.
    """
    total, support, device = torch.zeros(0), torch.zeros(field.elements), field.mean_appearance().device
    for view, features, weight in zip(views, maps, weights, strict=True):
        if not len(total):
            total = torch.zeros(field.elements, features.shape[0])
        added = torch.zeros(field.elements)
        for part, pixels in _full_size(features, view):
            sums, added = field.lift(view.to(device), pixels.to(device), weight.to(device))
            total[:, part] += sums.cpu()
        support += added.cpu()
    return total, support


def channel_parts(width: int) -> list[slice]:
    """Slices of `CHUNK_CHANNELS` of `width` channels, the last one shorter."""
    return [slice(start, min(start + CHUNK_CHANNELS, width)) for start in range(0, width, CHUNK_CHANNELS)]


def _full_size(features: Tensor, view: View) -> Iterator[tuple[slice, Tensor]]:
    """A feature map [D, h, w] resampled to a view, C channels at a time: their slice, and [H, W, C]."""
    for part in channel_parts(features.shape[0]):
        channels = features[None, part].float()
        pixels = interpolate(channels, (view.height, view.width), mode="bilinear", align_corners=False)
        yield part, pixels[0].permute(1, 2, 0).contiguous()
