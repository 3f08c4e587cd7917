"""Volume rendering: known values, limits, gradients."""

from __future__ import annotations

import math

import pytest
import torch

from halonerf.volume import composite, importance, ray_weights, stratified


def test_opaque_first_sample_hides_the_rest():
    weights = ray_weights(torch.tensor([[1e4, 5.0]]), torch.tensor([[0.0, 1.0, 2.0]]))
    torch.testing.assert_close(composite(weights, torch.tensor([[[0.2], [0.9]]])), torch.tensor([[0.2]]))


def test_an_empty_ray_gives_zeros():
    weights = ray_weights(torch.zeros(1, 3), torch.tensor([[0.0, 1.0, 2.0, 3.0]]))
    assert torch.equal(composite(weights, torch.ones(1, 3, 2)), torch.zeros(1, 2))


def test_weights_of_a_ray_worked_out_by_hand():
    """Densities 1 and 2 over lengths 0.5 and 1: light left after each part is e^-0.5 and e^-2.5."""
    weights = ray_weights(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 3.5, 4.5]]))
    expected = torch.tensor([[1 - math.exp(-0.5), math.exp(-0.5) - math.exp(-2.5)]])
    torch.testing.assert_close(weights, expected)


def test_weights_of_a_ray_sum_to_at_most_one():
    random = torch.Generator().manual_seed(0)
    density = 10 ** (6 * torch.rand(200, 32, generator=random) - 4)
    edges = torch.rand(200, 33, generator=random).cumsum(dim=1)
    weights = ray_weights(density, edges)
    assert weights.min() >= 0
    stopped = -torch.expm1(-(density * edges.diff(dim=1)).sum(dim=1))
    torch.testing.assert_close(weights.sum(dim=1), stopped, atol=1e-6, rtol=0)  # float32 sums of 32


def test_gradients_of_weights_and_composites():
    random = torch.Generator().manual_seed(0)
    density = torch.rand(3, 5, generator=random, dtype=torch.double, requires_grad=True)
    edges = torch.rand(3, 6, generator=random, dtype=torch.double).cumsum(dim=1).requires_grad_()
    values = torch.rand(3, 5, 2, generator=random, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda d, e, v: composite(ray_weights(d, e), v), (density, edges, values))


def test_halving_the_steps_through_fog_changes_nothing():
    """Constant density: the sum does not depend on where the samples lie."""
    coarse, fine = (
        ray_weights(torch.full((1, n), 0.7), torch.linspace(1, 3, n + 1)[None]).sum().item() for n in (4, 64)
    )
    assert coarse == pytest.approx(fine, rel=1e-5)
    assert fine == pytest.approx(1 - math.exp(-1.4), rel=1e-5)


def test_stratified_samples_lie_one_in_each_part():
    near, far = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 10.0])
    t = stratified(near, far, 16, torch.rand(len(near), 16, generator=torch.Generator().manual_seed(0)))
    part = (t - near[:, None]) / (far - near)[:, None] * 15 + 0.5  # parts of length one, half of it at the ends
    assert torch.equal(part.floor(), torch.arange(16.0).expand(2, 16))
    assert part.min() >= 0.5
    assert part.max() <= 15.5
    assert (part - part.floor()).std() > 0.2  # anywhere in their part, not all in one place
    torch.testing.assert_close(stratified(near, far, 3), torch.tensor([[1.0, 2.0, 3.0], [2.0, 6.0, 10.0]]))
    ends = [stratified(near, far, 3, torch.full((2, 3), share))[0].tolist() for share in (0.0, 1.0)]
    assert ends == [[1.0, 1.5, 2.5], [1.5, 2.5, 3.0]]


def test_importance_samples_follow_the_weights():
    edges, weights = torch.tensor([[0.0, 1.0, 2.0, 4.0]]), torch.tensor([[0.1, 0.6, 0.3]])
    random = torch.rand(1, 20000, generator=torch.Generator().manual_seed(0))
    expected = torch.tensor([0.1, 0.6, 0.15, 0.15])
    drawn = importance(edges, weights, 20000, random)[0]
    shares = torch.histc(drawn, 4, 0, 4) / 20000
    torch.testing.assert_close(shares, expected, atol=0.015, rtol=0)  # four standard deviations
    even = importance(edges, weights, 2001)[0]
    shares = torch.histc(even, 4, 0, 4) / 2001
    torch.testing.assert_close(shares, expected, atol=2e-3, rtol=0)  # evenly spaced: off by a sample
    assert (even.diff() >= 0).all()
    assert even[[0, -1]].tolist() == [0.0, 4.0]
    order = random[0].argsort()
    assert (drawn[order].diff() >= 0).all()  # in the order of the quantiles
    assert torch.equal(importance(edges, torch.ones(1, 3), 5), importance(edges, torch.ones(1, 3), 5))


def test_importance_of_a_ray_without_weight_is_even():
    t = importance(torch.tensor([[0.0, 1.0, 2.0]]), torch.zeros(1, 2), 5)
    torch.testing.assert_close(t, torch.tensor([[0.0, 0.5, 1.0, 1.5, 2.0]]))


def test_importance_stays_within_one_narrow_bin():
    edges = torch.linspace(0, 1, 65)[None]
    weights = torch.zeros(1, 64)
    weights[0, 40] = 1.0
    t = importance(edges, weights, 100)
    inside = (t >= edges[0, 40]) & (t <= edges[0, 41])
    # the 1e-5 in 63 other bins draw less than one sample in a thousand; the first and the last end at the edges
    assert inside[:, 1:-1].all()
