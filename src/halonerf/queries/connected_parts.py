"""Connected components of the elements whose probability reaches a threshold."""

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

MAX_NEIGHBOURS = 16  # that an element is connected to: bounds the work where elements are dense
PHOTOS_PER_PART = 3
BOX_TRIM_SHARE = 0.02  # of a part's elements, left out of its box at each end of an axis: outliers do not move it


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
    """A connected component of elements.

    elements: indices [N], ascending. probability: mean, weighted by confidence. centre [3], weighted in the same way,
    and box [2, 3] (minimum and maximum corner): world units. photos: the views in which it is largest, best first.
    """

    elements: NDArray[np.int64]
    probability: float
    centre: NDArray[np.float64]
    box: NDArray[np.float64]
    photos: list[int]

    def describe(self, text: str, names: Sequence[str], model_from_scene: NDArray[np.float64], points: Tensor) -> Any:
        """The part for JSON; `centre_model` and `box_model` are in frame and unit of the reconstruction in `sparse/`.

        names: of the scene's photos. model_from_scene: [4, 4]. points: centres of all elements, [E, 3], world units.
        """
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
    """Typical distance between elements, world units: median distance to the third neighbour; 0 for fewer than four.

    centres: [E, 3], world units, NaN for an element without a centre. kept: bool [E], the elements that count.
    """
    points = centres[kept & centres.isfinite().all(dim=1)].double().numpy()
    return float(np.median(cKDTree(points).query(points, k=4)[0][:, 3])) if len(points) >= 4 else 0.0


def find_parts(
    probability: Tensor,
    confidence: Tensor,
    centres: Tensor,
    visibility: tuple[Sequence[int], Tensor],
    threshold: float,
    spacing: float,
    options: PartOptions,
) -> list[ConnectedPart]:
    """Connected components of the elements of high probability, sorted by number of elements times probability.

    Args:
        probability, confidence: [E]; elements count from `threshold` on, where their confidence is above zero.
        centres: [E, 3], world units, NaN for an element without a centre, which belongs to no part.
        visibility: views, and each element's share of each view's pixels, [V, E].
        threshold: in (0, 1].
        spacing: typical distance of elements, world units, the unit of `options.part_radius`.
    """
    hot = ((probability >= threshold) & (confidence > 0) & centres.isfinite().all(dim=1)).nonzero()[:, 0]
    if not len(hot) or not options.max_parts:
        return []
    points = centres[hot].double().numpy()
    labels = component_labels(points, options.part_radius * spacing)
    sizes = np.bincount(labels)
    parts = [
        _part(hot[torch.from_numpy(np.flatnonzero(labels == component))], probability, confidence, centres, visibility)
        for component in np.flatnonzero(sizes >= options.min_elements)
    ]
    parts.sort(key=lambda part: (-len(part.elements) * part.probability, int(part.elements[0])))
    return parts[: options.max_parts]


def component_labels(points: NDArray[np.float64], radius: float) -> NDArray[np.int64]:
    """The component of each point [N, 3], [N]: points nearer than `radius` (world units) are connected."""
    number = min(MAX_NEIGHBOURS + 1, len(points))
    distance, other = cKDTree(points).query(points, k=number, distance_upper_bound=max(radius, 1e-12))
    distance, other = distance.reshape(len(points), -1), other.reshape(len(points), -1)
    point, place = np.nonzero(np.isfinite(distance))
    edges = coo_array((np.ones(len(point), np.int8), (point, other[point, place])), shape=(len(points), len(points)))
    return connected_components(edges, directed=False)[1]


def _part(
    elements: Tensor, probability: Tensor, confidence: Tensor, centres: Tensor, visibility: tuple[Sequence[int], Tensor]
) -> ConnectedPart:
    points, weights = centres[elements].double().numpy(), confidence[elements].double().numpy()
    values = probability[elements].double().numpy()
    views, shares = visibility
    size = shares[:, elements].float().sum(dim=1)
    largest = size.argsort(descending=True, stable=True)[:PHOTOS_PER_PART]
    return ConnectedPart(
        elements.numpy(),
        float(np.average(values, weights=weights)),
        np.average(points, axis=0, weights=weights),
        _box(points),
        [views[i] for i in largest.tolist() if size[i] > 0],
    )


def _box(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Minimum and maximum corner [2, 3] of points [N, 3], outliers left out."""
    return np.quantile(points, [BOX_TRIM_SHARE, 1 - BOX_TRIM_SHARE], axis=0)
