"""Windows cover every pixel of any photo, and averaging them invents nothing."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from halonerf.segmenters.windows import (
    cut_windows,
    fit_short_side,
    merge_windows,
    window_corners,
    window_starts,
)


@given(length=st.integers(1, 3000), side=st.integers(1, 400), stride=st.floats(0.01, 1.0))
@settings(max_examples=300, deadline=None)
def test_every_pixel_is_in_a_window_and_steps_keep_the_stride(length: int, side: int, stride: float):
    side = min(side, length)
    starts = window_starts(length, side, stride)
    covered = {pixel for start in starts for pixel in range(start, start + side)}
    assert covered == set(range(length))  # neither a hole nor a pixel beyond the photo
    steps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert all(0 < step <= max(1.0, stride * side) + 1 for step in steps)  # + 1: starts are whole pixels


@given(height=st.integers(16, 90), width=st.integers(16, 90), stride=st.floats(0.05, 1.0))
@settings(max_examples=60, deadline=None)
def test_cutting_and_merging_gives_the_photo_back(height: int, width: int, stride: float):
    images = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(height * 100 + width))
    side = min(height, width)
    windows = cut_windows(images, side, stride)
    merged = merge_windows(windows.transpose(1, 2), height, width, stride)
    torch.testing.assert_close(merged, images, atol=1e-5, rtol=0)


def test_a_pixel_near_a_windows_edge_listens_to_the_other_window():
    values = torch.stack([torch.zeros(8, 8), torch.ones(8, 8)])  # two windows over 8 x 12 pixels, 4 apart
    assert window_corners(8, 12, 8, 0.5) == [(0, 0), (0, 4)]
    merged = merge_windows(values, 8, 12, 0.5)[4]
    assert torch.all(merged[:4] == 0)
    assert torch.all(merged[8:] == 1)
    assert torch.all(merged[4:8].diff() > 0)
    torch.testing.assert_close(merged[4:8] + merged[4:8].flip(0), torch.ones(4))


def test_short_side_is_fitted_and_the_shape_kept():
    assert fit_short_side(torch.rand(1, 3, 50, 131), 64).shape[-2:] == (64, 168)
    assert fit_short_side(torch.rand(1, 3, 300, 200), 64).shape[-2:] == (96, 64)


@pytest.mark.parametrize(("length", "stride"), [(10, 0.5), (40, 0.0), (40, 1.5)])
def test_windows_that_would_not_cover_are_refused(length: int, stride: float):
    with pytest.raises(ValueError, match="expected"):
        window_starts(length, 20, stride)
