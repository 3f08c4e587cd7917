"""The words of a page: what is known of each, its colour, and the parts of the building that it names."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from halonerf.lifting import visibility
from halonerf.protocols import PlacedField, RadianceField
from halonerf.queries.connected_parts import ConnectedPart, element_spacing, find_parts
from halonerf.types import View

COLOURS = ("#ff8a5c", "#4cc3ff", "#ffd166", "#7ddf8f", "#d39bff", "#ff7eb6", "#45e0c8", "#c3d94e", "#8fa8ff", "#ffb3a0")
TURN = 0.618  # of the colour wheel between further colours: the golden ratio, so that no two are alike
LOOK = 96  # px, long side of the pictures that say which photo sees what


@dataclass(frozen=True)
class SharedWord:
    """probability, confidence: [E], of the field's elements; confidence 0 is unknown."""

    text: str
    probability: Tensor
    confidence: Tensor


def colour_of(number: int) -> str:
    """#rrggbb of word `number`, bright enough to be seen on dark stone and to be read on black."""
    if number < len(COLOURS):
        return COLOURS[number]
    red, green, blue = colorsys.hls_to_rgb(number * TURN % 1.0, 0.7, 0.85)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


@torch.no_grad()
def view_visibility(field: RadianceField, views: Sequence[View]) -> Tensor:
    """Mean weight of every element over each view's pixels, [V, E]."""
    shares = []
    for view in views:
        small = view.within(LOOK, min_side=2)
        weight = torch.ones(small.height, small.width, device=small.camera_to_world.device)
        shares.append(visibility(field, small, weight))
    return torch.stack(shares) if shares else torch.zeros(0, field.elements)


def word_parts(
    words: Sequence[SharedWord],
    field: RadianceField,
    seen: tuple[Sequence[int], Tensor],
    threshold: float,
    join: float,
    smallest: int,
    most: int,
) -> list[list[dict[str, Any]]]:
    """The parts of each word, the largest first: where they are and how large, world units, and who shows them best.

    Arguments as in `halonerf.queries.connected_parts.find_parts`; join: in spacings of the elements that are seen. `photo`
    is the place in `seen`'s views, None where none of them shows the part. Nothing for a field without places.
    """
    if not isinstance(field, PlacedField):
        return [[] for _ in words]
    centres = field.element_centres().detach().cpu()
    radius = join * element_spacing(centres, (seen[1] > 0).any(dim=0))
    place = {view: number for number, view in enumerate(seen[0])}
    return [
        [
            _described(part, place)
            for part in find_parts(
                word.probability, word.confidence, centres, seen, threshold, radius, smallest, most
            )
        ]
        for word in words
    ]  # fmt: skip


def _described(part: ConnectedPart, place: dict[int, int]) -> dict[str, Any]:
    return {
        "elements": len(part.elements),
        "probability": round(part.probability, 3),
        "centre": part.centre.round(5).tolist(),
        "extent": (part.box[1] - part.box[0]).round(5).tolist(),
        "photo": place[part.photos[0]] if part.photos else None,
    }
