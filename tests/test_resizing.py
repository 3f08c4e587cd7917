"""Resizing: no displacement at any ratio, block means at whole factors, means and bounds kept."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from halonerf.geometry import resize_mean, resize_pixels

RATIOS = [(1025, 1024), (520, 512), (640, 512), (400, 320), (683, 512), (768, 512), (1024, 384)]
ODD_HALVES = [(341, 170), (101, 50), (33, 16), (7, 3)]
RATIO_IDS = [f"{source}-{target}" for source, target in RATIOS + ODD_HALVES]


def displacement(row: np.ndarray, period: float) -> np.ndarray:
    """Shift in px of each pixel of a row [2, W] that should hold cosine and sine of waves of `period` px."""
    phase = 2 * np.pi * (np.arange(row.shape[1]) + 0.5) / period
    return np.angle(np.exp(1j * (np.arctan2(row[1], row[0]) - phase))) * period / (2 * np.pi)


def waves(size: int, period: float) -> np.ndarray:
    """Cosine and sine of waves of `period` px, [2, size]."""
    phase = 2 * np.pi * (np.arange(size) + 0.5) / period
    return np.stack([np.cos(phase), np.sin(phase)])


@pytest.mark.parametrize(("source", "target"), RATIOS + ODD_HALVES, ids=RATIO_IDS)
def test_a_pattern_is_not_displaced(source: int, target: int):
    """0.02 px at waves of 16 px: the weights keep the centre of mass, not the third moment."""
    rows = waves(source, 16.0 * source / target)
    across = np.stack([resize_pixels(np.tile(row, (3, 1)), target, 3)[0] for row in rows])
    down = np.stack([resize_pixels(np.tile(row[:, None], (1, 3)), 3, target)[:, 0] for row in rows])
    maps = resize_mean(torch.from_numpy(rows)[:, None], 1, target)[:, 0].numpy()
    for small in (across, down, maps):
        assert np.abs(displacement(small, 16.0)).max() < 0.02


@pytest.mark.parametrize(("source", "target"), [(1025, 1024), (520, 512), (640, 512)])
def test_the_pattern_shows_the_fault_of_whole_pixels(source: int, target: int):
    """The measure itself: Pillow's BOX, with weights of 0 and 1, displaces the same pattern by far more."""
    rows = waves(source, 16.0 * source / target).astype(np.float32)
    box = [np.asarray(Image.fromarray(row[None]).resize((target, 1), Image.Resampling.BOX))[0] for row in rows]
    assert np.abs(displacement(np.stack(box), 16.0)).max() > 0.2


@pytest.mark.parametrize(("source", "target"), [*RATIOS, *ODD_HALVES, (3, 2), (5, 4), (16, 9), (5, 1), (3, 7), (1, 4)])
def test_ramps_means_and_bounds_are_kept(source: int, target: int):
    ramp = torch.arange(source, dtype=torch.float64) + 0.5
    small = resize_mean(ramp.expand(2, source), 2, target)[0]
    centres = (torch.arange(target, dtype=torch.float64) + 0.5) * source / target
    if source < target:  # beyond the outermost centres there is nothing to interpolate
        centres = centres.clamp(0.5, source - 0.5)
    torch.testing.assert_close(small, centres)
    for edge in range(source):
        impulse = torch.zeros(1, source, dtype=torch.float64)
        impulse[0, edge] = 1.0
        weights = resize_mean(impulse, 1, target)
        assert weights.min() >= 0
        assert weights.max() <= 1
    torch.testing.assert_close(resize_mean(torch.ones(1, source, dtype=torch.float64), 1, target).min().item(), 1.0)


@pytest.mark.parametrize("factor", [2, 3, 8])
def test_whole_factors_are_block_means(factor: int):
    pixels = np.random.default_rng(0).integers(0, 256, (6 * factor, 5 * factor, 3), np.uint8)
    blocks = pixels.reshape(6, factor, 5, factor, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(resize_pixels(pixels, 5, 6), blocks, atol=0.5 + 1e-4)  # rounding to 8 bits
    assert resize_pixels(pixels, 5, 6).dtype == np.uint8
    torch.testing.assert_close(
        resize_mean(torch.from_numpy(pixels).permute(2, 0, 1), 6, 5),
        torch.from_numpy(blocks).permute(2, 0, 1).float(),
        atol=1e-4,
        rtol=0,
    )


def test_an_area_is_its_mean():
    """[0, 9, 0, 0, 0] to 2 px of 2.5: the third pixel is shared; weights 1, 1, 0.5 moved by 0.03 onto their centre."""
    small = resize_pixels(np.array([[0.0, 9.0, 0.0, 0.0, 0.0]]), 2, 1)
    assert small[0, 0] == pytest.approx(9 / 2.5)
    assert small[0, 1] == 0.0


def test_gradients_flow_through():
    image = torch.rand(1, 5, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: resize_mean(x, 2, 3), image)


def test_kinds_and_sizes():
    assert resize_pixels(np.ones((4, 4), bool).astype(np.uint8) * 255, 3, 3).tolist() == [[255] * 3] * 3
    assert resize_pixels(np.full((5, 5, 4), 7, np.uint16), 2, 3).dtype == np.uint16
    same = np.zeros((3, 3, 3), np.uint8)
    assert resize_pixels(same, 3, 3) is same
    assert resize_mean(torch.zeros(2, 3, 4, dtype=torch.float16), 2, 2).dtype == torch.float16
    assert math.isnan(float(resize_mean(torch.tensor([[torch.nan, 1.0, 1.0]]), 1, 2)[0, 0]))
