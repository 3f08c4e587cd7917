"""Sizes of parts against known shapes, and their table."""

from __future__ import annotations

import csv
import io
import math

import numpy as np
import pytest

from halonerf.queries.connected_parts import ConnectedPart
from halonerf.queries.part_tables import flat_area, part_csv, with_sizes

PLAIN = {"text": "=1+1", "elements": 4, "probability": 0.5, "photos": ["a.jpg", "b.jpg"], "centre_model": [0, 0, 0]}


def rotated(flat: np.ndarray) -> np.ndarray:
    """Points [N, 2] in a plane that is oblique in space."""
    return flat @ np.array([[0.6, 0.0, 0.8], [0.48, 0.8, -0.36]]) + [3.0, -2.0, 5.0]


@pytest.mark.parametrize("spacing", [0.02, 0.05])
def test_the_area_of_a_rectangle_and_of_a_ring(spacing: float):
    axis = np.arange(spacing / 2, 1, spacing)
    square = np.stack(np.meshgrid(2 * axis, axis), axis=-1).reshape(-1, 2)
    square[:, 0] += spacing / 4 * (np.arange(len(square)) // len(axis) % 2)  # elements stand on no grid
    found = flat_area(rotated(square), 1.5 * spacing, spacing / 2)
    assert found == pytest.approx(2, rel=0.05)
    ring = square[np.abs(np.hypot(*(square - [1, 0.5]).T) - 0.35) < 0.1]
    expected = math.pi * (0.45**2 - 0.25**2)
    near = pytest.approx(expected, rel=4 * spacing)  # few elements across the ring
    assert flat_area(rotated(ring), 1.5 * spacing, spacing / 2) == near, "its hole does not count"


def test_points_without_an_area_have_none():
    assert flat_area(np.zeros((2, 3)), 1.0, 0.5) == 0
    line = np.linspace(0, 1, 50)[:, None] * [1.0, 2.0, 0.0]
    assert flat_area(line, 0.1, 0.01) < 0.06


def test_sizes_in_metres_where_the_scale_is_known():
    corners = np.array([[0, 0, 0], [2, 0, 0], [2, 0, 1], [0, 0, 1.0]])
    part = ConnectedPart(np.arange(4), 0.5, corners.mean(axis=0), np.array([[0, 0, 0], [2, 0, 1.0]]), [0])
    row = with_sizes({**PLAIN, "centre": [1, 0, 0.5], "box": part.box.tolist()}, part, corners, 2.5, 1.0)
    assert row["extent"] == [2, 0, 1]
    assert "extent_m" not in row
    known = with_sizes(row, part, corners, 2.5, 1.0, metres_per_unit=3.0)
    assert known["extent_m"] == [6, 0, 3]
    assert known["area_m2"] == pytest.approx(9 * row["area"], rel=1e-3)
    read = list(csv.DictReader(io.StringIO(part_csv([known, row]))))
    assert [float(read[0][f"box_max_{axis}"]) for axis in "xyz"] == [2, 0, 1]
    assert (read[0]["part"], read[1]["part"]) == ("1", "2")
    assert read[1]["extent_m_x"] == "", "what one row lacks is empty"
    assert read[0]["photos"] == "a.jpg b.jpg"
    assert read[0]["text"] == "'=1+1", "a spreadsheet runs nothing"
    assert part_csv([]) == "text\r\n"
