"""Words of a shared page: probability and confidence of each, and its connected parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from halonerf.lifting import visibility
from halonerf.protocols import PlacedField, RadianceField
from halonerf.queries.connected_parts import ConnectedPart, PartOptions, element_spacing, find_parts
from halonerf.types import View

VISIBILITY_SIZE = 96  # px, long side of the renderings that tell which elements a view shows


@dataclass(frozen=True)
class SharedWord:
    """A text and where it is. probability, confidence: [E], of the field's elements; confidence 0 is unknown."""

    text: str
    probability: Tensor
    confidence: Tensor


@torch.no_grad()
def view_visibility(field: RadianceField, views: Sequence[View]) -> Tensor:
    """Share of each view's pixels that every element accounts for, [V, E]; a row sums to the view's mean opacity."""
    shares = []
    for view in views:
        small = view.within(VISIBILITY_SIZE, min_side=2)
        weight = torch.ones(small.height, small.width, device=small.camera_to_world.device)
        shares.append(visibility(field, small, weight))
    return torch.stack(shares) if shares else torch.zeros(0, field.elements)


def describe_parts(
    words: Sequence[SharedWord],
    field: RadianceField,
    seen: tuple[Sequence[int], Tensor],
    threshold: float,
    options: PartOptions,
) -> list[list[dict[str, Any]]]:
    """The connected parts of each word for JSON, the largest first: centre, extent (world units) and best photo.

    Args:
        seen: views, and the share of each that every element accounts for, [V, E].
        threshold: probability from which an element belongs to a part.
        options: its radius counts in spacings of the elements that are seen.
    Returns: a list per word; empty for a field whose elements have no centres. `photo` is a position in `seen`'s
        views, None where none of them shows the part.
    """
    if not isinstance(field, PlacedField):
        return [[] for _ in words]
    centres = field.element_centres().detach().cpu()
    spacing = element_spacing(centres, (seen[1] > 0).any(dim=0))
    position = {view: number for number, view in enumerate(seen[0])}
    found = [find_parts(w.probability, w.confidence, centres, seen, threshold, spacing, options) for w in words]
    return [[_describe(part, position) for part in parts] for parts in found]


def _describe(part: ConnectedPart, position: dict[int, int]) -> dict[str, Any]:
    return {
        "elements": len(part.elements),
        "probability": round(part.probability, 3),
        "centre": part.centre.round(5).tolist(),
        "extent": (part.box[1] - part.box[0]).round(5).tolist(),
        "photo": position[part.photos[0]] if part.photos else None,
    }
