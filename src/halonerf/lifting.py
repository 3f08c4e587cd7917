"""What photos say about elements: A^T of their maps, row by row of A the elements' shares of a pixel's light."""

from __future__ import annotations

import torch
from torch import Tensor

from halonerf.protocols import RadianceField
from halonerf.types import Rendering, View


def ratio(part: Tensor, whole: Tensor) -> Tensor:
    """part / whole, 0 where there is no whole."""
    return torch.where(whole > 0, part / whole.clamp(min=1e-12), 0.0)


def lift_weighted(field: RadianceField, view: View, given: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """A^T w p and A^T w of one photo, [E, P] each. Where all concepts weigh the same, that is lifted once."""
    if (weight == weight[..., :1]).all():
        said, support = field.lift(view, given, weight[..., 0])
        return said.cpu(), support[:, None].expand_as(said).cpu()
    sums, _ = field.lift(view, torch.cat([weight * given, weight], dim=-1), torch.ones_like(weight[..., 0]))
    said, support = sums.cpu().chunk(2, dim=1)
    return said, support


@torch.no_grad()
def lift_known(field: RadianceField, view: View, maps: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """A'(w p) and A'w, [E, P] each."""
    device = field.mean_appearance().device
    given = torch.cat([known * maps, known], dim=-1).to(device)
    sums, _ = field.lift(view.to(device), given, torch.ones_like(given[..., 0]))
    said, support = sums.cpu().chunk(2, dim=-1)
    return said, support


@torch.no_grad()
def render_known(
    field: RadianceField, view: View, appearance: Tensor, probability: Tensor, confidence: Tensor
) -> tuple[Tensor, Tensor]:
    """What a camera sees of probabilities [E, Q]: probability [H, W, Q] and how much of each pixel is known.

    As a head's own `render` does it: what is unknown, of confidence 0, is left out, and what passes all elements shows
    the background, which is nothing that anybody asked for.
    """
    maps, certain = split_known(field.render(view, appearance, known_channels(probability, confidence)))
    return maps.cpu(), certain.cpu()


def known_channels(probability: Tensor, confidence: Tensor) -> Tensor:
    """What a field draws so that `split_known` can read it: [E, 2 Q], the probabilities that are known, and which are."""
    known = (confidence > 0).to(probability)
    return torch.cat([probability * known, known], dim=1)


def split_known(shown: Rendering) -> tuple[Tensor, Tensor]:
    """What a picture drawn with `known_channels` says: probability and known share of every pixel, [H, W, Q] each."""
    assert shown.channels is not None
    said, certain = shown.channels.chunk(2, dim=-1)
    rest = (1 - shown.opacity[..., None]).clamp(min=0) + certain
    return torch.where(certain > 1e-4, said / rest.clamp(min=1e-4), 0.0).clamp(0, 1), certain.clamp(0, 1)
