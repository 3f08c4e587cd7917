"""For every field, the rendering of a part of a view is that part of the rendering."""

from __future__ import annotations

import pytest
import torch

from halonerf.geometry import pixel_centres, ray_directions
from halonerf.protocols import TrainableField
from halonerf.rendering.tiles import render_frame
from helpers.small_fields import NAMES, OPTIONS, make, view


@pytest.fixture(params=OPTIONS)
def field(request: pytest.FixtureRequest) -> TrainableField:
    random = torch.Generator().manual_seed(0)
    made = make(request.param)
    made.initialise(torch.randn(60, 3, generator=random) * 0.5, torch.rand(60, 3, generator=random), NAMES, seed=0)
    return made.eval().requires_grad_(False)


def test_parts_of_a_frame_equal_the_whole(field: TrainableField):
    channels = torch.rand(field.elements, 2, generator=torch.Generator().manual_seed(1))
    whole = field.render(view(), field.mean_appearance(), channels)
    frame = render_frame(field, view(), field.mean_appearance(), channels, memory_mb=0.05)  # tiles of 16 px
    for name in ("colour", "depth", "opacity", "channels"):
        # Rounding alone; largest measured: 7e-7.
        torch.testing.assert_close(getattr(frame, name), getattr(whole, name), atol=1e-5, rtol=1e-5)


def test_normals_face_the_camera_and_are_no_longer_than_the_opacity(field: TrainableField):
    shown = field.render(view(), field.mean_appearance(), normals=True)
    assert shown.normals is not None
    assert shown.normals.shape == (26, 37, 3)
    assert (shown.normals.norm(dim=-1) <= shown.opacity + 1e-5).all()
    along = (shown.normals * ray_directions(view(), pixel_centres(view()))).sum(dim=-1)
    assert along.mean() < 0
    assert field.render(view(), field.mean_appearance()).normals is None
