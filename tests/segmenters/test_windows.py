"""Windows cover every pixel of any photo, and averaging them invents nothing."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from halonerf.segmenters.clipseg import (
    ClipSeg,
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
@settings(max_examples=200, deadline=None)
def test_cutting_and_merging_gives_the_photo_back(height: int, width: int, stride: float):
    images = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(height * 100 + width))
    side = min(height, width)
    windows = cut_windows(images, side, stride)
    merged = merge_windows(windows.transpose(1, 2), height, width, stride)
    torch.testing.assert_close(merged, images, atol=1e-5, rtol=0)


def test_weights_fall_towards_a_windows_edges():
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
def test_windows_that_leave_gaps_are_refused(length: int, stride: float):
    with pytest.raises(ValueError, match="expected"):
        window_starts(length, 20, stride)


def random_sizes(count: int) -> list[tuple[int, int]]:
    """(height, width) of photos, from square to eight times as long as wide, tall and wide."""
    random = np.random.default_rng(0)
    short, ratio, turned = random.integers(20, 300, count), random.uniform(1, 8, count), random.random(count) < 0.5
    pairs = [(int(side), round(side * times)) for side, times in zip(short, ratio, strict=True)]
    return [pair[::-1] if turn else pair for pair, turn in zip(pairs, turned, strict=True)]


@pytest.mark.parametrize("stride", [0.1, 0.25], ids=["the paper's", "default"])
def test_a_constant_clipseg_gives_a_constant_map_at_200_sizes(
    clipseg_folder: Path, monkeypatch: pytest.MonkeyPatch, stride: float
):
    segmenter = ClipSeg(str(clipseg_folder), image_size=64, stride=stride)
    monkeypatch.setattr(segmenter, "_tokens", lambda windows: windows.new_zeros(len(windows), 1, 1, 1))
    monkeypatch.setattr(segmenter, "_logits", lambda tokens, text: tokens.new_full((len(tokens), 64, 64), 1.25))
    for size in random_sizes(200):
        logits = segmenter.decode(segmenter.encode(torch.zeros(1, 3, *size)), ["dome"])
        assert min(logits.shape[-2:]) == 64
        torch.testing.assert_close(logits, torch.full_like(logits, 1.25), atol=1e-6, rtol=0)  # a hole would be NaN
