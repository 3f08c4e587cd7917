"""Frames rendered in tiles equal frames rendered at once, whatever the memory budget."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from halonerf.errors import BadInput
from halonerf.fields.gaussians.field import Gaussians
from halonerf.rendering.tiles import STEP_PX, render_frame, tile_boxes
from halonerf.types import Rendering, View


@pytest.fixture(scope="module")
def field() -> Gaussians:
    """Large tilted Gaussians, half of the picture sky, in a light that is not neutral."""
    random = torch.Generator().manual_seed(0)
    made = Gaussians(code_size=3)
    points = torch.randn(150, 3, generator=random) * torch.tensor([1.0, 0.4, 1.0])
    made.initialise(points, torch.rand(150, 3, generator=random), ("a.jpg",), seed=0)
    with torch.no_grad():
        made.log_scales += torch.randn(150, 3, generator=random)
        made.rotations += torch.randn(150, 4, generator=random)
        made.opacity_logits += 3
        made.codes.table += 2 * torch.randn(1, 3, generator=random)
    return made.eval()


def view(width: int = 75, height: int = 52) -> View:
    pose = torch.eye(3, 4)
    pose[2, 3] = -2.5
    return View(width, height, 40.0, 40.0, width / 2 + 1, height / 2 - 2, pose)


class Counting:
    """A field that notes how large the parts are that it is asked for."""

    def __init__(self, field: Gaussians) -> None:
        self.field, self.asked = field, []

    def render(
        self, view: View, appearance: Tensor, channels: Tensor | None = None, normals: bool = False
    ) -> Rendering:
        self.asked.append((view.width, view.height, 0 if channels is None else channels.shape[1]))
        return self.field.render(view, appearance, channels, normals)


# Least for 5 channels together in a part of a tile: 13 numbers * 256 pixels * 16 bytes = 0.053 MB.
@pytest.mark.parametrize(("memory_mb", "passes"), [(512.0, 1), (0.3, 4), (0.06, 20), (0.045, 20 * 3), (0.037, 20 * 5)])
@torch.no_grad()
def test_tiles_and_channel_groups_make_the_whole_frame(field: Gaussians, memory_mb: float, passes: int):
    channels = torch.rand(150, 5, generator=torch.Generator().manual_seed(1))
    whole = field.render(view(), field.appearance("a.jpg"), channels, normals=True)
    counting = Counting(field)
    frame = render_frame(counting, view(), field.appearance("a.jpg"), channels, True, memory_mb)
    assert len(counting.asked) == passes
    assert all(w * h * (8 + c) * 16 <= memory_mb * 1e6 for w, h, c in counting.asked)
    for name in ("colour", "depth", "opacity", "channels", "normals"):
        # Rounding alone: a part's pixels have smaller coordinates, a network fewer rows. Largest measured: 2e-6.
        torch.testing.assert_close(
            getattr(frame, name), getattr(whole, name), atol=1e-5, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_channels_and_normals_are_absent_unless_requested(field: Gaussians):
    frame = render_frame(field, view(), field.mean_appearance())
    assert frame.channels is None
    assert frame.normals is None
    assert not frame.colour.requires_grad


def test_zero_channels_are_allowed(field: Gaussians):
    assert render_frame(field, view(), field.mean_appearance(), torch.zeros(150, 0)).channels.shape == (52, 75, 0)


def test_a_cropped_view_is_rendered_in_tiles_too(field: Gaussians):
    part = view().cropped(16, 32, 40, 20)
    frame = render_frame(field, part, field.mean_appearance(), memory_mb=0.06)
    whole = render_frame(field, view(), field.mean_appearance())
    torch.testing.assert_close(frame.colour, whole.colour[32:52, 16:56], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (75, 52), (16, 400), (640, 480)])
@pytest.mark.parametrize("pixels", [256, 300, 5000, 40000, 10**7])
def test_boxes_cover_every_pixel_once(width: int, height: int, pixels: int):
    seen = torch.zeros(height, width, dtype=torch.int)
    for left, top, w, h in tile_boxes(width, height, pixels):
        assert left % STEP_PX == top % STEP_PX == 0
        assert w * h <= pixels
        seen[top : top + h, left : left + w] += 1
    assert (seen == 1).all()


def test_a_budget_below_one_tile_is_refused(field: Gaussians):
    with pytest.raises(BadInput, match=r"at least 0\.03 MB for rendering, got 0\.001 MB"):
        render_frame(field, view(), field.mean_appearance(), memory_mb=0.001)
