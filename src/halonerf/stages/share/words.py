"""Words of a shared page: probability and confidence of each, and its connected parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from halonerf.lifting import visibility
from halonerf.protocols import RadianceField
from halonerf.queries.connected_parts import PartFinder, PartOptions
from halonerf.thresholds import Decision
from halonerf.types import View

VISIBILITY_SIZE = 96  # px, long side of the renderings that tell which elements a view shows


@dataclass(frozen=True)
class SharedWord:
    """A text and where it is. probability, confidence: [E], of the field's elements; confidence 0 is unknown.

    decision: its threshold, and whether it is a guess.
    """

    text: str
    probability: Tensor
    confidence: Tensor
    decision: Decision


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
    word: SharedWord, finder: PartFinder, seen: tuple[Sequence[int], Tensor], options: PartOptions
) -> list[dict[str, Any]]:
    """A word's connected parts for JSON, the largest first: centre, extent (world units) and best photo.

    Args:
        seen: views of the page, and the share of each that every element accounts for, [V, E].
    Returns: empty for a field whose elements have no centres. `photo` is a position among the views, None where none of
        them shows the part.
    """
    views = list(seen[0])
    return [
        {
            "elements": len(part.elements),
            "probability": round(part.probability, 3),
            "centre": part.centre.round(5).tolist(),
            "extent": (part.box[1] - part.box[0]).round(5).tolist(),
            "photo": views.index(part.photos[0]) if part.photos else None,
        }
        for part in finder.find(word.probability, word.confidence, word.decision, seen, options)
    ]
