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
from halonerf.protocols import PlacedField, RadianceField
from halonerf.thresholds import Decision

NEAREST = 8  # neighbours that are connected first: they leave few pairs of cells to compare
PAIRS_AT_ONCE = 2_000_000  # of points of two cells, whose distances are in memory at a time: 100 MB
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


class PartFinder:
    """Finds the connected parts of a field's elements, for queries, windows and pages alike.

    Attributes:
        centres: of the elements, [E, 3], world units, NaN without one. spacing: typical distance between them, world
            units, the unit of `PartOptions.part_radius`; it depends on the field alone.
    """

    def __init__(self, field: RadianceField) -> None:
        self.centres, self.spacing = torch.full((field.elements, 3), torch.nan), 0.0
        if isinstance(field, PlacedField):
            self.centres = field.element_centres().detach().cpu()
            self.spacing = element_spacing(self.centres, torch.ones(len(self.centres), dtype=torch.bool))

    def find(
        self,
        probability: Tensor,
        confidence: Tensor,
        decision: Decision,
        visibility: tuple[Sequence[int], Tensor],
        options: PartOptions,
    ) -> list[ConnectedPart]:
        """The parts of one text, the most important first; where the decision is a guess, only the most probable one.

        Arguments as of `find_parts`, which does not choose.
        """
        found = find_parts(probability, confidence, self.centres, visibility, decision.threshold, self.spacing, options)
        return [max(found, key=lambda part: part.probability)] if decision.guess and found else found


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
    """The component of each point [N, 3], [N]: points nearer than `radius` (world units) are connected, all of them.

    Points of one cell of a grid whose diagonal is the radius are connected without a look at them, and so are each
    point's nearest; only cells whose points are then still apart are compared point by point. So memory grows with the
    number of points, not with that of pairs, however dense they are.
    """
    radius = max(radius, 1e-12)
    number = min(NEAREST + 1, len(points))
    distance, other = cKDTree(points).query(points, k=number, distance_upper_bound=radius)
    point, place = np.nonzero(np.isfinite(distance.reshape(len(points), -1)))
    near = np.stack([point, other.reshape(len(points), -1)[point, place]])
    grid = _grid_cells(points, radius)
    order = np.lexsort(grid.T)
    fresh = np.concatenate([[True], (np.diff(grid[order], axis=0) != 0).any(axis=1)])
    starts = np.append(np.flatnonzero(fresh), len(points))
    cells = grid[order[starts[:-1]]]
    edges = [near, np.stack([order[starts[np.cumsum(fresh) - 1]], order])]
    labels = _labels_of(edges, len(points))
    pairs = cKDTree(cells).query_pairs(2, p=np.inf, output_type="ndarray")
    gap = np.maximum(np.abs(cells[pairs[:, 0]] - cells[pairs[:, 1]]) - 1, 0)
    first = labels[order[starts[:-1]]]  # of each cell, whose points all have the same
    pairs = pairs[((gap**2).sum(axis=1) < 3) & (first[pairs[:, 0]] != first[pairs[:, 1]])]
    edges.append(_touching(points, order, starts, pairs, radius))
    return _labels_of(edges, len(points)) if edges[-1].size else labels


def _grid_cells(points: NDArray[np.float64], diagonal: float) -> NDArray[np.float64]:
    """The grid cell of each point [N, 3], whole numbers [N, 3], in a grid of cells of that diagonal (world units)."""
    side = diagonal / 3**0.5 * (1 - 1e-9)
    return np.floor((points - points.min(axis=0)) / side)


def _touching(
    points: NDArray[np.float64],
    order: NDArray[np.int64],
    starts: NDArray[np.int64],
    pairs: NDArray[np.int64],
    radius: float,
) -> NDArray[np.int64]:
    """An edge [2, M] for each pair of cells [P, 2] that have points nearer than `radius` to each other.

    order: the points sorted by cell; cell k has order[starts[k]:starts[k + 1]].
    """
    counts = np.diff(starts)
    amounts = counts[pairs[:, 0]] * counts[pairs[:, 1]]
    edges = [np.zeros((2, 0), np.int64)]
    for a, b in pairs[amounts > PAIRS_AT_ONCE]:
        one, two = order[starts[a] : starts[a + 1]], order[starts[b] : starts[b + 1]]
        distance, nearest = cKDTree(points[one]).query(points[two], distance_upper_bound=radius)
        best = int(distance.argmin())
        if np.isfinite(distance[best]):
            edges.append(np.array([[one[nearest[best]]], [two[best]]]))
    pairs, amounts = pairs[amounts <= PAIRS_AT_ONCE], amounts[amounts <= PAIRS_AT_ONCE]
    parcels = np.cumsum(amounts) // PAIRS_AT_ONCE
    for parcel in np.unique(parcels):
        chosen, sizes = pairs[parcels == parcel], amounts[parcels == parcel]
        row = np.repeat(np.arange(len(chosen)), sizes)
        within = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        width = counts[chosen[row, 1]]
        one = order[starts[chosen[row, 0]] + within // width]
        two = order[starts[chosen[row, 1]] + within % width]
        close = ((points[one] - points[two]) ** 2).sum(axis=1) < radius**2
        _, kept = np.unique(row[close], return_index=True)
        edges.append(np.stack([one[close][kept], two[close][kept]]))
    return np.concatenate(edges, axis=1)


def _labels_of(edges: Sequence[NDArray[np.int64]], count: int) -> NDArray[np.int64]:
    """The component of each of `count` points under several sets of edges, [2, M] each."""
    one, two = np.concatenate(edges, axis=1)
    graph = coo_array((np.ones(len(one), np.int8), (one, two)), shape=(count, count))
    return connected_components(graph, directed=False)[1]


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
