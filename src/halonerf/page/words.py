"""Words of a page: probability and confidence of each, and its connected parts; which view shows most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from halonerf.lifting import visibility
from halonerf.protocols import RadianceField
from halonerf.queries.connected_parts import ConnectedPart
from halonerf.thresholds import Decision
from halonerf.types import View

MIN_VISIBLE_SHARE = 1e-6  # of a photo's pixels: an element with more counts as visible in it
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


def overview(seen: Tensor) -> int:
    """The view that shows the most elements. seen: share of each view's pixels that every element accounts for, [V, E].

    Elements count alike, so that the front, which many photos show in fine detail, wins over a close-up or the sky.
    """
    return int((seen > MIN_VISIBLE_SHARE).sum(dim=1).argmax())


def describe_parts(parts: Sequence[ConnectedPart], views: Sequence[int]) -> list[dict[str, Any]]:
    """A word's connected parts for JSON: centre, extent (world units) and best photo.

    Args:
        views: of the page; `photo` is a position among them, None where none of them shows the part.
    """
    return [
        {
            "elements": len(part.elements),
            "probability": round(part.probability, 3),
            "centre": part.centre.round(5).tolist(),
            "extent": (part.box[1] - part.box[0]).round(5).tolist(),
            "photo": list(views).index(part.photos[0]) if part.photos else None,
        }
        for part in parts
    ]
