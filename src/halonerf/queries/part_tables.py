"""Lists of a text's connected parts with their sizes, as rows for JSON and as CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from halonerf.files import csv_text
from halonerf.queries.connected_parts import ConnectedPart

CELLS_PER_RADIUS, MAX_CELLS = 8, 1024  # of the grid on which areas are counted; along each side
AXES = ("x", "y", "z")
VECTORS = ("centre", "box_min", "box_max", "extent", "centre_model", "centre_m", "extent_m")  # three columns each


def with_sizes(
    row: Mapping[str, Any],
    part: ConnectedPart,
    centres: NDArray[np.float64],
    radius: float,
    spacing: float,
    metres_per_unit: float | None = None,
) -> dict[str, Any]:
    """A part's row with `extent` of its box and `area`, in world units, and in metres where the scale is known.

    Args:
        row: from `ConnectedPart.describe`. centres: of all elements, [E, 3], world units.
        radius: below which elements are connected. spacing: typical distance between elements. World units.
    """
    extent, area = part.box[1] - part.box[0], flat_area(centres[part.elements], radius / 2, spacing / 2)
    sized = {**row, "extent": extent.round(5).tolist(), "area": round(area, 6)}
    if metres_per_unit is not None:
        sized |= {
            "centre_m": (part.centre * metres_per_unit).round(4).tolist(),
            "extent_m": (extent * metres_per_unit).round(4).tolist(),
            "area_m2": round(area * metres_per_unit**2, 4),
        }
    return sized


def flat_area(points: NDArray[np.float64], radius: float, margin: float) -> float:
    """Area that points [N, 3] cover in the plane in which they extend most, in their unit squared.

    The points are projected onto the plane of their two largest principal axes. Gaps between them that are narrower
    than a disc of `radius` count as covered (a morphological closing on a grid), and `margin` around them all.
    """
    if len(points) < 3 or radius <= 0:
        return 0.0
    middle = points - points.mean(axis=0)
    flat = middle @ np.linalg.svd(middle, full_matrices=False)[2][:2].T
    flat -= flat.min(axis=0)
    cell = max(radius / CELLS_PER_RADIUS, float(flat.max()) / MAX_CELLS, 1e-12)
    border = int(np.ceil(radius / cell)) + 2
    places = (flat / cell).astype(int) + border
    empty = np.ones(places.max(axis=0) + border + 1, bool)
    empty[places[:, 0], places[:, 1]] = False
    near = distance_transform_edt(empty) <= radius / cell
    covered = distance_transform_edt(near) > (radius - margin) / cell
    return float(covered.sum()) * cell**2


def part_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of parts as CSV: a vector in three columns, photos joined by spaces, what spreadsheets would run escaped."""
    flat = [_flat(row, number) for number, row in enumerate(rows, start=1)]
    fields = list(dict.fromkeys(field for row in flat for field in row)) or ["text"]
    return csv_text(fields, flat, escape=True)


def _flat(row: Mapping[str, Any], number: int) -> dict[str, object]:
    box = np.asarray(row["box"]).tolist()
    values = {**row, "box_min": box[0], "box_max": box[1]}
    flat: dict[str, object] = {"text": row["text"], "part": number}
    flat |= {name: values[name] for name in ("elements", "probability", "area", "area_m2") if name in values}
    for name in VECTORS:
        if name in values:
            flat |= {f"{name}_{axis}": value for axis, value in zip(AXES, values[name], strict=True)}
    return {**flat, "photos": " ".join(values["photos"])}
