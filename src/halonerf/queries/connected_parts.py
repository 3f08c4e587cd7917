"""Where something is, as things: groups of elements that lie together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from torch import Tensor

from halonerf.errors import BadInput

NEIGHBOURS = 16  # that an element is joined to at most: bounds the work where elements lie densely
BEST = 3  # photos named a part
RIM = 0.02  # share of a part's elements left out of its box at each end of an axis: strays do not move it


@dataclass(frozen=True)
class PartOptions:
    """How connected parts are found.

    part_radius: elements that are nearer than this are connected, in spacings of the field's elements
    (`element_spacing`). min_elements: of a part. max_parts: of a text, those with the most elements times probability.

    Raises: BadInput for values out of range.
    """

    part_radius: float = 3.0
    min_elements: int = 10
    max_parts: int = 50

    def __post_init__(self) -> None:
        if self.part_radius <= 0 or self.min_elements < 1 or self.max_parts < 0:
            raise BadInput(
                "expected part_radius above 0, min_elements >= 1 and max_parts >= 0, got "
                f"{self.part_radius}, {self.min_elements} and {self.max_parts}"
            )


@dataclass(frozen=True)
class ConnectedPart:
    """elements: which, ascending. probability: their mean, weighted by how much the photos said of each.
    centre [3] and box [2, 3] (least and largest corner): world units. photos: the views that show it largest.
    """

    elements: NDArray[np.int64]
    probability: float
    centre: NDArray[np.float64]
    box: NDArray[np.float64]
    photos: list[int]

    def describe(self, text: str, names: Sequence[str], model_from_scene: NDArray[np.float64], points: Tensor) -> Any:
        """For JSON; `centre_model` and `box_model` are in the frame and unit of the reconstruction in `sparse/`."""
        places = points[self.elements].double().numpy() @ model_from_scene[:3, :3].T + model_from_scene[:3, 3]
        centre = model_from_scene[:3, :3] @ self.centre + model_from_scene[:3, 3]
        return {
            "text": text,
            "elements": len(self.elements),
            "probability": round(self.probability, 4),
            "centre": self.centre.round(5).tolist(),
            "box": self.box.round(5).tolist(),
            "centre_model": centre.round(5).tolist(),
            "box_model": _box(places).round(5).tolist(),
            "photos": [names[view] for view in self.photos],
        }


def element_spacing(centres: Tensor, kept: Tensor) -> float:
    """How far apart elements lie, world units: the median distance to the third neighbour. 0 for fewer than four.

    centres: [E, 3], NaN where an element is in no one place. kept: [E], which of them count.
    """
    points = centres[kept & centres.isfinite().all(dim=1)].double().numpy()
    return float(np.median(cKDTree(points).query(points, k=4)[0][:, 3])) if len(points) >= 4 else 0.0


def find_parts(
    probability: Tensor,
    confidence: Tensor,
    centres: Tensor,
    seen: tuple[Sequence[int], Tensor],
    threshold: float,
    spacing: float,
    options: PartOptions,
) -> list[ConnectedPart]:
    """The parts of something, those with the most elements times probability first.

    Args:
        probability, confidence: [E]; an element counts from `threshold` on, where its confidence is above zero.
        centres: [E, 3], world units, NaN where an element is in no one place: it then belongs to no part.
        seen: views, and what share of each every element has, [V, E].
        spacing: world units, of the elements; `options.part_radius` counts in it.
    """
    hot = ((probability >= threshold) & (confidence > 0) & centres.isfinite().all(dim=1)).nonzero()[:, 0]
    if not len(hot) or not options.max_parts:
        return []
    points = centres[hot].double().numpy()
    belongs = component_labels(points, options.part_radius * spacing)
    sizes = np.bincount(belongs)
    found = [
        _part(hot[torch.from_numpy(np.flatnonzero(belongs == group))], probability, confidence, centres, seen)
        for group in np.flatnonzero(sizes >= options.min_elements)
    ]
    found.sort(key=lambda part: (-len(part.elements) * part.probability, int(part.elements[0])))
    return found[: options.max_parts]


def component_labels(points: NDArray[np.float64], radius: float) -> NDArray[np.int64]:
    """The group of each point [N, 3]: those nearer than `radius` share theirs."""
    number = min(NEIGHBOURS + 1, len(points))
    distance, other = cKDTree(points).query(points, k=number, distance_upper_bound=max(radius, 1e-12))
    distance, other = distance.reshape(len(points), -1), other.reshape(len(points), -1)
    one, place = np.nonzero(np.isfinite(distance))
    links = coo_array((np.ones(len(one), np.int8), (one, other[one, place])), shape=(len(points), len(points)))
    return connected_components(links, directed=False)[1]


def _part(
    elements: Tensor, probability: Tensor, confidence: Tensor, centres: Tensor, seen: tuple[Sequence[int], Tensor]
) -> ConnectedPart:
    points, said = centres[elements].double().numpy(), confidence[elements].double().numpy()
    values = probability[elements].double().numpy()
    views, share = seen
    shown = share[:, elements].float().sum(dim=1)
    largest = shown.argsort(descending=True, stable=True)[:BEST]
    return ConnectedPart(
        elements.numpy(),
        float(np.average(values, weights=said)),
        np.average(points, axis=0, weights=said),
        _box(points),
        [views[i] for i in largest.tolist() if shown[i] > 0],
    )


def _box(points: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.quantile(points, [RIM, 1 - RIM], axis=0)
