"""Trimmed means and medians of weighted votes: against sums done one by one, at their limits, and in a head."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from halonerf.fields.gaussians.field import Gaussians
from halonerf.heads.lifted import Lifted
from halonerf.heads.robust import consensus_mean, photo_trust, robust_mean, trimmed_mean, weighted_median
from halonerf.types import View


def plainly_trimmed(votes: Tensor, weights: Tensor, trim: float) -> float:
    """By walking along the line of votes."""
    pairs = sorted((v, w) for v, w in zip(votes.tolist(), weights.tolist(), strict=True) if w > 0)
    total = sum(w for _, w in pairs)
    start, said, length = 0.0, 0.0, 0.0
    for vote, weight in pairs:
        left = max(start, trim * total)
        right = min(start + weight, (1 - trim) * total)
        said, length = said + max(0.0, right - left) * vote, length + max(0.0, right - left)
        start += weight
    return said / length if length else 0.0


def votes_of(seed: int, number: int = 9) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    votes, weights = torch.rand(number, 7, 3, generator=random), torch.rand(number, 7, 3, generator=random) * 50
    weights[torch.rand(weights.shape, generator=random) < 0.3] = 0
    weights[:, 0, 0] = 0
    return votes, weights


@pytest.mark.parametrize("trim", [0.0, 0.1, 0.3, 0.45])
def test_trimming_is_cutting_the_line_of_votes(trim: float):
    votes, weights = votes_of(3)
    found = robust_mean(votes, weights, trim)
    expected = torch.tensor(
        [[plainly_trimmed(votes[:, e, p], weights[:, e, p], trim) for p in range(3)] for e in range(7)]
    )
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=0)
    assert found[0, 0] == 0


def test_without_trimming_it_is_the_mean():
    votes, weights = votes_of(4)
    mean = (votes * weights).sum(dim=0) / weights.sum(dim=0).clamp(min=1e-9)
    torch.testing.assert_close(robust_mean(votes, weights, 0.0), mean, atol=2e-6, rtol=0)


def test_the_median_has_known_values():
    def median(votes: list[float], weights: list[float]) -> float:
        return weighted_median(torch.tensor([votes]), torch.tensor([weights])).item()

    assert median([0.9, 0.1, 0.5], [1, 1, 1]) == pytest.approx(0.5)
    assert median([0.2, 0.6], [2, 2]) == pytest.approx(0.4)
    assert median([0.7, 0.3], [5, 0]) == pytest.approx(0.7)
    assert median([0.0, 1.0], [3, 1]) == pytest.approx(0.25)  # middles at 1.5 and 3.5 of 4; half is at 2
    assert median([0.4, 0.4, 0.4], [0, 0, 0]) == 0


@pytest.mark.parametrize("trim", [0.2, 0.5])
def test_the_mean_of_one_minus_the_votes_is_one_minus_the_mean(trim: float):
    votes, weights = votes_of(5)
    spoke = weights.sum(dim=0) > 0
    torch.testing.assert_close(
        robust_mean(1 - votes, weights, trim)[spoke], 1 - robust_mean(votes, weights, trim)[spoke]
    )


def test_a_trimmed_mean_tends_to_the_median_of_an_odd_number():
    votes = torch.rand(40, 7, generator=torch.Generator().manual_seed(6))
    ones = torch.ones_like(votes)
    torch.testing.assert_close(trimmed_mean(votes, ones, 0.49), weighted_median(votes, ones), atol=1e-5, rtol=0)


def test_votes_in_half_precision_are_off_by_their_rounding():
    votes, weights = votes_of(7)
    # half precision rounds a number in [0.5, 1] by at most 2.5e-4; an order that rounding swaps moves no more than that
    torch.testing.assert_close(
        robust_mean(votes.half(), weights, 0.3), robust_mean(votes, weights, 0.3), atol=3e-4, rtol=0
    )


@pytest.mark.parametrize("trim", [0.35, 0.5])
def test_a_third_of_wrong_votes_does_no_harm(trim: float):
    votes = torch.full((10, 1, 1), 0.8)
    votes[:3] = 0.0
    ones = torch.ones_like(votes)
    assert robust_mean(votes, ones, trim).item() == pytest.approx(0.8)
    assert robust_mean(votes, ones, 0.0).item() == pytest.approx(0.56)


def plate() -> Gaussians:
    """Twelve separate discs of nearly no transparency."""
    made = Gaussians()
    x, y = torch.meshgrid(torch.arange(4.0), torch.arange(3.0), indexing="xy")
    points = torch.stack([x.flatten() * 0.4 - 0.6, y.flatten() * 0.4 - 0.4, torch.zeros(12)], dim=1)
    made.initialise(points, torch.full((12, 3), 0.5), ["a"], seed=0)
    with torch.no_grad():
        made.opacity_logits.fill_(6.0)
        made.log_scales.fill_(math.log(0.05))
    return made.eval().requires_grad_(False)


def camera(shift: float) -> View:
    pose = torch.eye(3, 4)
    pose[0, 3], pose[2, 3] = shift, -2.0
    return View(48, 40, 50.0, 50.0, 24.0, 20.0, pose)


def test_voters_that_disagree_lose_their_weight():
    """Element by element the wrong have the majority in places; over all, they are the odd ones."""
    random = torch.Generator().manual_seed(9)
    truth = (torch.rand(300, 1, generator=random) > 0.6).float() * 0.8 + 0.1
    votes = truth + 0.05 * torch.randn(10, 300, 1, generator=random)
    votes[:4] = torch.rand(4, 300, 1, generator=random)
    weights = (torch.rand(votes.shape, generator=random) > 0.5).float()
    weights[9] = 0  # says nothing
    errors = {
        name: (found - truth).abs().mean().item()
        for name, found in (
            ("mean", robust_mean(votes, weights, 0.0)),
            ("median", robust_mean(votes, weights, 0.5)),
            ("consensus", consensus_mean(votes, weights, 2.0)),
        )
    }
    assert errors["consensus"] < 0.4 * errors["median"]  # measured: 0.040 and 0.130; the mean 0.195
    assert errors["median"] < errors["mean"]
    trust = photo_trust(votes, weights, consensus_mean(votes, weights, 2.0), 2.0)
    assert trust[:4].max() < 0.05
    assert trust[4:9].min() > 0.5
    assert trust[9] == 0


def test_voters_that_all_agree_give_the_mean():
    votes, weights = torch.full((4, 5, 2), 0.7), torch.rand(4, 5, 2) + 0.1
    torch.testing.assert_close(consensus_mean(votes, weights, 2.0), torch.full((5, 2), 0.7))
    assert not consensus_mean(votes, torch.zeros_like(weights), 2.0).any()


@pytest.mark.parametrize("robust", ["trimmed", "median", "consensus"])
def test_wrong_photos_are_outvoted(robust: str):
    """Three of ten photos say the opposite; their pixels weigh as much as the others'."""
    field, views = plate(), [camera(0.01 * i) for i in range(10)]
    maps = [torch.full((40, 48, 2), 0.9 if i >= 3 else 0.1) for i in range(10)]
    weights = [torch.ones(40, 48, 2)] * 10
    plain, head = Lifted(), Lifted(robust=robust, trim=0.4)
    plain.fit(field, views, maps, weights)
    head.fit(field, views, maps, weights)
    assert (plain.probabilities() - 0.66).abs().max() < 0.01  # 0.7 * 0.9 + 0.3 * 0.1
    torch.testing.assert_close(head.probabilities(), torch.full((12, 2), 0.9), atol=1e-3, rtol=0)  # half precision
    torch.testing.assert_close(head.confidence(), plain.confidence())


@pytest.mark.parametrize("robust", ["trimmed", "consensus"])
def test_memory_does_not_change_results(robust: str):
    field, views = plate(), [camera(0.02 * i) for i in range(5)]
    random = torch.Generator().manual_seed(8)
    maps = [torch.rand(40, 48, 3, generator=random) for _ in views]
    weights = [torch.rand(40, 48, 3, generator=random) for _ in views]
    heads = [Lifted(robust=robust, refinements=1, memory_mb=mb) for mb in (2000.0, 1e-6)]
    for head in heads:
        head.fit(field, views, maps, weights)
    torch.testing.assert_close(heads[1].probabilities(), heads[0].probabilities())
    torch.testing.assert_close(heads[1].confidence(), heads[0].confidence())
