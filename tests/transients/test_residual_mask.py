"""Which residuals are masked as transients, and which are not."""

from __future__ import annotations

import pytest
import torch

from halonerf.transients.residual import ResidualMask
from halonerf.types import Rendering, View

VIEW = View(80, 60, 50.0, 50.0, 40.0, 30.0, torch.eye(3, 4))
PATCH = (slice(20, 40), slice(50, 70))  # rows, columns
CORE = (slice(25, 35), slice(55, 65))


def wrong_patch(opacity: float = 1.0) -> tuple[Rendering, torch.Tensor]:
    """A rendering of grey, and a photo with a bright patch."""
    photo = torch.full((60, 80, 3), 0.4)
    photo[PATCH] = 0.9
    solid = torch.ones(60, 80)
    solid[PATCH] = opacity
    return Rendering(torch.full((60, 80, 3), 0.4), torch.ones(60, 80), solid), photo


def mask(points: list[list[float]], opacity: float = 1.0, view: View = VIEW) -> torch.Tensor:
    made = ResidualMask()
    made.initialise({"a.jpg": torch.tensor(points).reshape(-1, 2)}, seed=0)
    shown, photo = wrong_patch(opacity)
    return made.mask("a.jpg", view, shown, photo, torch.ones(60, 80, dtype=torch.bool))


def test_large_residuals_are_masked():
    found = mask([[0.1, 0.1]])
    assert found[CORE].eq(1).all()
    assert found[:, :40].eq(0).all()


def test_without_any_match_all_errors_count():
    assert mask([])[CORE].eq(1).all()


def grid() -> torch.Tensor:
    """Matched points 4 px apart all over the patch, px."""
    rows, columns = torch.meshgrid(torch.arange(20.0, 41, 4), torch.arange(50.0, 71, 4), indexing="ij")
    return torch.stack([columns.flatten(), rows.flatten()], dim=1)


def test_residuals_near_matched_points_are_not_masked():
    assert mask((grid() / torch.tensor([80.0, 60.0])).tolist())[CORE].eq(0).all()
    half = grid()[grid()[:, 0] < 56] / torch.tensor([80.0, 60.0])
    assert mask(half.tolist())[CORE][:, -2:].eq(1).all()


def test_residuals_in_front_of_the_sky_are_not_masked():
    assert mask([[0.1, 0.1]], opacity=0.1)[CORE].eq(0).all()


def test_matches_are_used_in_a_part_of_the_image():
    """Seen as the lower right quarter of a larger picture, the patch lies elsewhere in it."""
    part = View(160, 120, 50.0, 50.0, 80.0, 60.0, torch.eye(3, 4)).cropped(80, 60, 80, 60)
    whole = torch.tensor([160.0, 120.0])
    assert mask(((grid() + torch.tensor([80.0, 60.0])) / whole).tolist(), view=part)[CORE].eq(0).all()
    assert mask((grid() / whole).tolist(), view=part)[CORE].eq(1).all()


@pytest.mark.parametrize(("progress", "counts"), [(0.0, True), (0.29, True), (0.31, False)])
def test_nothing_is_masked_before_the_start(progress: float, counts: bool):
    made = ResidualMask(start=0.3)
    made.initialise({"a.jpg": torch.empty(0, 2)}, seed=0)
    valid = torch.ones(60, 80, dtype=torch.bool)
    weight, _ = made.pixel_weights("a.jpg", VIEW, *wrong_patch(), valid, 0, progress)
    assert bool(weight[30, 60] > 0) == counts
    assert weight.mean() == pytest.approx(1)
