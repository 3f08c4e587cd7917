"""Lifting of 2D maps to the elements of a field, and rendering of what is known of elements.

A field's rendering of per-element values v is linear, p = A v: A [pixels, E] holds the weight of every element in every
pixel. Lifting is its adjoint, A^T.
"""

from __future__ import annotations

import torch
from torch import Tensor

from halonerf.protocols import RadianceField
from halonerf.types import Rendering, View

MIN_KNOWN = 1e-4  # share of a pixel: where less is known, its probability is 0


def ratio(part: Tensor, whole: Tensor) -> Tensor:
    """part / whole elementwise, 0 where `whole` is 0; equal shapes of non-negative `whole`."""
    return torch.where(whole > 0, part / whole.clamp(min=1e-12), 0.0)


@torch.no_grad()
def lift_weighted(field: RadianceField, view: View, maps: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The weighted lift of one photo's maps and its support, A^T (w p) and A^T w, [E, P] each, on the CPU.

    Where all concepts have the same weight, it is lifted once.

    maps: p, [H, W, P]. weight: w, [H, W, P], non-negative.
    """
    device = field.mean_appearance().device
    view, maps, weight = view.to(device), maps.to(device), weight.to(device)
    if (weight == weight[..., :1]).all():
        sums, support = field.lift(view, maps, weight[..., 0])
        return sums.cpu(), support[:, None].expand_as(sums).cpu()
    both, _ = field.lift(view, torch.cat([weight * maps, weight], dim=-1), torch.ones_like(weight[..., 0]))
    sums, support = both.cpu().chunk(2, dim=1)
    return sums, support


@torch.no_grad()
def visibility(field: RadianceField, view: View, weight: Tensor) -> Tensor:
    """Mean weight of every element over a view's pixels, [E], on the CPU; sums to the mean opacity where w is 1.

    weight: w, [H, W] in [0, 1], what of each pixel counts.
    """
    _, support = field.lift(view, weight.new_zeros(view.height, view.width, 0), weight)
    return support.cpu() / weight.numel()


@torch.no_grad()
def render_known(
    field: RadianceField, view: View, appearance: Tensor, probability: Tensor, confidence: Tensor
) -> tuple[Tensor, Tensor]:
    """Probability [H, W, Q] of every pixel, and the share [H, W, Q] of it that is known; both in [0, 1], on the CPU.

    Elements of confidence 0 are unknown and left out of the probability; the background, behind all elements, shows
    nothing and counts as known:  probability = sum_known w v / (1 - sum_unknown w),  share = sum_known w.

    appearance: [A]. probability, confidence: [E, Q], of the elements.
    """
    maps, known = split_known(field.render(view, appearance, known_channels(probability, confidence)))
    return maps.cpu(), known.cpu()


def known_channels(probability: Tensor, confidence: Tensor) -> Tensor:
    """Channels [E, 2 Q] to render for `split_known`: probabilities of known elements, and 1 for each of these."""
    known = (confidence > 0).to(probability)
    return torch.cat([probability * known, known], dim=1)


def split_known(rendering: Rendering) -> tuple[Tensor, Tensor]:
    """Probability and known share of every pixel, [H, W, Q] each in [0, 1], from rendered `known_channels`."""
    assert rendering.channels is not None
    sums, known = rendering.channels.chunk(2, dim=-1)
    return over_known(sums, known, rendering.opacity), known.clamp(0, 1)


def over_known(sums: Tensor, known: Tensor, opacity: Tensor) -> Tensor:
    """sums / (1 - opacity + known), in [0, 1]: the mean over known elements and the background; 0 where few are known.

    sums: [H, W, Q], composited values of the known elements, in [0, 1] each. known: [H, W, Q], their composited
    weights. opacity: [H, W].
    """
    rest = (1 - opacity[..., None]).clamp(min=0) + known
    return torch.where(known > MIN_KNOWN, sums / rest.clamp(min=MIN_KNOWN), 0.0).clamp(0, 1)
