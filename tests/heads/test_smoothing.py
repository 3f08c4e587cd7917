"""Smoothing of probabilities over near elements of similar colours."""

from __future__ import annotations

import pytest
import torch

from halonerf.errors import BadInput
from halonerf.fields.gaussians.field import Gaussians
from halonerf.heads.lifted import Lifted, smoothed
from halonerf.types import View
from helpers.placeless_field import Nowhere

LINE = torch.stack([torch.arange(20.0) * 0.1, torch.zeros(20), torch.zeros(20)], dim=1)


def test_noise_falls_and_the_mean_stays():
    random = torch.Generator().manual_seed(0)
    value = 0.5 + 0.2 * torch.randn(20, 1, generator=random)
    found = smoothed(value, torch.ones(20, 1), LINE, torch.zeros(20, 3), strength=1.0, neighbours=4)
    assert found.std() < 0.6 * value.std()
    assert found.mean() == pytest.approx(value.mean().item(), abs=0.03)


def test_constants_stay():
    value = torch.full((20, 2), 0.3)
    found = smoothed(value, torch.rand(20, 2) + 0.1, LINE, torch.rand(20, 3), strength=2.0, neighbours=3)
    torch.testing.assert_close(found, value)


def test_elements_of_other_colours_do_not_mix():
    colours = torch.zeros(20, 3)
    colours[10:] = 1.0
    value = (torch.arange(20) >= 10).float()[:, None]
    found = smoothed(value, torch.ones(20, 1), LINE, colours, strength=1.0, neighbours=4)
    torch.testing.assert_close(found, value, atol=1e-6, rtol=0)
    blurred = smoothed(value, torch.ones(20, 1), LINE, torch.zeros(20, 3), strength=1.0, neighbours=4)
    assert blurred[9, 0] > 0.1


def test_elements_of_low_support_follow_those_of_high_support():
    value, support = torch.zeros(20, 1), torch.full((20, 1), 100.0)
    value[10], support[10] = 1.0, 0.1
    found = smoothed(value, support, LINE, torch.zeros(20, 3), strength=1.0, neighbours=4)
    assert found[10, 0] < 0.01
    assert found[9, 0] < 0.01


def test_elements_without_position_or_support_are_left_alone():
    centres = LINE.clone()
    centres[19] = torch.nan
    value, support = torch.zeros(20, 1), torch.ones(20, 1)
    value[19], value[5], support[5] = 1.0, 1.0, 0.0
    found = smoothed(value, support, centres, torch.zeros(20, 3), strength=1.0, neighbours=19)
    torch.testing.assert_close(found, value, atol=0, rtol=0)


def test_a_field_without_positions_is_refused():
    view = View(4, 4, 4.0, 4.0, 2.0, 2.0, torch.eye(3, 4))
    with pytest.raises(BadInput, match=r"positions[\s\S]*Nowhere.*\n.*head\.smoothing=0"):
        Lifted(smoothing=0.5).fit(Nowhere(), [view], [torch.ones(4, 4, 1)], [torch.ones(4, 4, 1)])


def test_a_head_smooths_what_it_lifted():
    random = torch.Generator().manual_seed(2)
    field = Gaussians()
    points = torch.rand(60, 3, generator=random) * torch.tensor([1.0, 0.8, 0.02]) - torch.tensor([0.5, 0.4, 0.0])
    field.initialise(points, torch.full((60, 3), 0.5), ["a"], seed=0)
    field.eval().requires_grad_(False)
    pose = torch.eye(3, 4)
    pose[2, 3] = -2.0
    view = View(48, 40, 50.0, 50.0, 24.0, 20.0, pose)
    maps = [torch.rand(40, 48, 1, generator=random)]
    plain, smooth = Lifted(), Lifted(smoothing=1.0)
    for head in (plain, smooth):
        head.fit(field, [view], maps, [torch.ones(40, 48, 1)])
    known = plain.confidence()[:, 0] > 0
    assert smooth.probabilities()[known].std() < 0.8 * plain.probabilities()[known].std()
    assert torch.equal(smooth.confidence(), plain.confidence())
