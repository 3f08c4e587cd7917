"""Densification strategies: each one's rules, and what they share."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from halonerf.fields.gaussians.field import Gaussians
from halonerf.fields.gaussians.strategies.base import (
    DensificationLimits,
    ParameterRows,
    largest_scores,
    limit_scales,
    split_and_clone,
)
from halonerf.fields.gaussians.strategies.budget import BudgetStrategy, target_number
from halonerf.fields.gaussians.strategies.mcmc import MAX_COPIES, McmcStrategy, split_opacity
from halonerf.fields.gaussians.strategies.threshold import RESET_OPACITY, ThresholdStrategy
from halonerf.fields.gaussians.table import PARAMETERS, STATISTICS
from halonerf.losses import photometric
from halonerf.splatting.rasterise import rasterise
from halonerf.types import View

LIMITS = DensificationLimits(
    budget=60, start=0.1, until=0.9, every=10, split_size=0.05, max_scale=0.5, min_opacity=0.01
)


def field(number: int = 30, **options) -> Gaussians:
    random = torch.Generator().manual_seed(0)
    made = Gaussians(code_size=3, feature_size=4, width=8, budget=60, **options)
    made.initialise(torch.randn(number, 3, generator=random), torch.rand(number, 3, generator=random), ("a", "b"), 0)
    return made


def table(made: Gaussians) -> ParameterRows:
    """The field's rows, with moments 0, 1, 2, ... in every column."""
    optimiser = made.optimiser()
    rates = [group["lr"] for group in optimiser.param_groups]
    for group in optimiser.param_groups:
        group["lr"] = 0.0
    with torch.enable_grad():
        sum(p.sum() for p in made.parameters()).backward()
    optimiser.step()
    for group, rate in zip(optimiser.param_groups, rates, strict=True):
        group["lr"] = rate
    for name in PARAMETERS:
        for value in optimiser.state[getattr(made, name)].values():
            if value.dim():
                value.copy_(torch.arange(len(value)).reshape(-1, *[1] * (value.dim() - 1)).expand_as(value))
    return ParameterRows(made, PARAMETERS, STATISTICS, optimiser)


def momentum(rows: ParameterRows, name: str = "means") -> Tensor:
    return rows.optimiser.state[getattr(rows.module, name)]["exp_avg"][:, 0]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def call(strategy, rows: ParameterRows, step: int = 49, progress: float = 0.5) -> None:
    with torch.no_grad():
        strategy(rows, step, progress, generator())


def set_grad_norms(made: Gaussians, rows: list[int], scale: float = 1.0) -> None:
    """Give these rows decreasing gradient norms, the others 0."""
    made.grad_norm[rows] = scale * torch.arange(len(rows), 0, -1)
    made.seen.fill_(1)


# Shared by all


def test_rows_are_replaced_with_their_momentum():
    made = field()
    rows = table(made)
    keep = torch.arange(30) % 3 > 0
    extra = {name: values[:4] + 1 for name, values in rows.table().items()}
    before = made.means.detach().clone()
    rows.replace(keep, extra)
    assert len(rows) == made.elements == 24
    assert torch.equal(made.means[:20], before[keep])
    assert torch.equal(made.means[20:], before[:4] + 1)
    assert torch.equal(momentum(rows), torch.cat([torch.arange(30.0)[keep], torch.zeros(4)]))
    assert made.grad_norm.tolist() == made.seen.tolist() == [0.0] * 24
    owned = {id(p) for group in rows.optimiser.param_groups for p in group["params"]}
    assert owned == {id(p) for p in made.parameters()}


def test_momentum_is_reset_by_row():
    rows = table(field())
    rows.reset_momentum(("means",), torch.tensor([3, 4]))
    assert momentum(rows)[:6].tolist() == [0, 1, 2, 0, 0, 5]
    assert momentum(rows, "rotations")[3] == 3


def test_a_small_gaussian_is_cloned_and_a_large_one_split():
    rows = {
        "means": torch.zeros(2, 3),
        "log_scales": torch.tensor([[0.01, 0.02, 0.01], [0.2, 0.1, 0.1]]).log(),
        "rotations": torch.tensor([[1.0, 0, 0, 0]]).expand(2, 4),
        "opacity_logits": torch.tensor([1.0, 2.0]),
    }
    made = split_and_clone(rows, torch.tensor([0, 1]), 0.05, generator())
    assert made["opacity_logits"].tolist() == [1, 2, 1, 2]
    torch.testing.assert_close(made["log_scales"][[0, 2]], rows["log_scales"][[0, 0]])
    torch.testing.assert_close(made["log_scales"][[1, 3]], rows["log_scales"][[1, 1]] - math.log(1.6))
    distance = made["means"].norm(dim=1)
    assert distance[0] == 0  # one of the clones stays, the other moves a little
    assert 0 < distance[2] < 0.06
    assert (distance[[1, 3]] > 0).all()
    assert not torch.equal(made["means"][1], made["means"][3])


def test_the_largest_scores_are_chosen_in_increasing_order_of_index():
    scores = torch.tensor([0.3, 0.1, 0.9, 0.0, 0.5])
    assert largest_scores(scores, 3, 0.05).tolist() == [0, 2, 4]
    assert largest_scores(scores, 3, 0.4).tolist() == [2, 4]
    assert largest_scores(scores, 0, 0.0).tolist() == largest_scores(scores, -2, 0.0).tolist() == []


def test_needles_are_shortened_to_six_times_the_middle_axis():
    scales = torch.tensor([[1.0, 0.01, 0.001], [0.05, 0.05, 0.05], [9.0, 9.0, 0.1]])
    expected = torch.tensor([[0.06, 0.01, 0.001], [0.05, 0.05, 0.05], [0.5, 0.5, 0.1]])
    torch.testing.assert_close(limit_scales(scales.log(), 0.5).exp(), expected)


@pytest.mark.parametrize("strategy", [BudgetStrategy(LIMITS, 30, 0.0), ThresholdStrategy(LIMITS, 0.0, 0.0)])
@pytest.mark.parametrize(("step", "progress"), [(48, 0.5), (49, 0.95), (49, 0.05)])
def test_nothing_is_added_outside_the_growing_phase(strategy, step: int, progress: float):
    made = field()
    set_grad_norms(made, list(range(30)))
    rows = table(made)
    call(strategy, rows, step, progress)
    assert made.elements == 30


# Budget


def test_the_target_number_follows_its_schedule_to_the_budget():
    assert target_number(100, 1000, 0.0) == 100
    assert target_number(100, 1000, 0.5) == 775
    assert target_number(100, 1000, 1.0) == target_number(100, 1000, 2.0) == 1000
    assert target_number(5000, 1000, 1.0) == 5000


def test_budget_clones_the_largest_gradient_norms_and_prunes_the_faint():
    made = field()
    set_grad_norms(made, [7, 9, 11])
    with torch.no_grad():
        made.opacity_logits[[0, 7]] = -9.0
        before = made.means.clone()
    call(BudgetStrategy(LIMITS, 30, 0.0), table(made))
    gone = [0, 7, 9, 11]  # two faint ones, one of them with a gradient norm; two cloned
    kept = [i for i in range(30) if i not in gone]
    assert made.elements == 26 + 4
    assert torch.equal(made.means[:26], before[kept])
    assert (made.means[26:28] - before[[9, 11]]).abs().max() < 4 * LIMITS.max_scale


# Threshold


def test_threshold_clones_all_above_it_up_to_the_budget():
    made = field()
    set_grad_norms(made, [3, 4, 5, 6], scale=1e-3)
    call(ThresholdStrategy(LIMITS, 1.5e-3, 0.0), table(made))
    assert made.elements == 30 + 3  # 4, 3 and 2 thousandths; one is below
    set_grad_norms(made, list(range(33)))
    call(ThresholdStrategy(LIMITS, 0.0, 0.0), table(made))
    assert made.elements == 60


@pytest.mark.parametrize(
    ("step", "resets"), [(248, False), (249, True), (250, False), (499, True), (749, True), (999, False)]
)
@torch.no_grad()
def test_threshold_resets_opacities_at_every_quarter(step: int, resets: bool):
    made = field()
    made.opacity_logits.copy_(torch.linspace(-4, 3, 30))
    rows = table(made)
    call(ThresholdStrategy(LIMITS, 1e9, 0.25), rows, step, (step + 1) / 1000)
    most = rows.opacities.max().item()
    assert most == pytest.approx(RESET_OPACITY if resets else 0.9526, rel=1e-3)
    assert bool(rows.optimiser.state[made.opacity_logits]["exp_avg"].any()) is not resets
    assert momentum(rows).any()


# MCMC


def test_copies_render_like_the_gaussian_that_they_come_from():
    """Several equal Gaussians in one place stop as much light at their centre, and over the picture, as one did."""
    opacity, copies = torch.tensor([0.05, 0.5, 0.9, 0.99]), torch.tensor([1, 2, 5, MAX_COPIES])
    each, factor = split_opacity(opacity, copies)
    assert each[0].item() == pytest.approx(0.05)
    assert factor[0].item() == pytest.approx(1.0)
    torch.testing.assert_close(1 - (1 - each) ** copies, opacity)
    view = View(41, 41, 60.0, 60.0, 20.5, 20.5, torch.eye(3, 4))
    for one, number, many, shrink in zip(opacity.tolist(), copies.tolist(), each, factor, strict=True):
        drawn = []
        for count, value, scale in ((1, torch.tensor(one), 0.2), (number, many, 0.2 * shrink)):
            centre, turn = torch.tensor([[0.0, 0.0, 2.0]]), torch.tensor([[1.0, 0.0, 0.0, 0.0]])
            shapes = [centre, torch.full((1, 3), float(scale)), turn, value.reshape(1)]
            drawn.append(
                rasterise(*(t.repeat(count, *[1] * (t.dim() - 1)) for t in shapes), torch.ones(count, 1), view)
            )
        # The integral is kept along lines through the centre: over the picture measured within 4 %.
        assert drawn[1].opacity[20].sum().item() == pytest.approx(drawn[0].opacity[20].sum().item(), rel=0.04)
        assert drawn[1].opacity[20, 20].item() == pytest.approx(one, abs=2e-3)


def test_faint_gaussians_are_relocated_to_opaque_ones():
    made = field(noise=0.0)
    with torch.no_grad():
        made.opacity_logits[:10] = -9.0
        made.opacity_logits[10:] = 1.0
        opaque = made.means[10:].clone()
    rows = table(made)
    call(McmcStrategy(DensificationLimits(30, 0.1, 0.9, 10, 0.05, 0.5, 0.01), 0.0), rows)
    assert made.elements == 30
    assert all((place == opaque).all(dim=1).any() for place in made.means[:10])
    assert torch.equal(made.means[10:], opaque)
    shared = torch.sigmoid(made.opacity_logits[10:]) < 0.7
    assert 0 < shared.sum() <= 10  # those that were copied became fainter, the others stayed
    assert not momentum(rows)[:10].any()
    assert momentum(rows)[10:][~shared].tolist() == torch.arange(10.0, 30.0)[~shared].tolist()


def test_numbers_grow_by_five_percent_up_to_the_budget():
    made = field(40)
    with torch.no_grad():
        made.opacity_logits.fill_(1.0)
    rows = table(made)
    counts = []
    for _ in range(12):
        call(McmcStrategy(LIMITS, 0.0), rows)
        counts.append(made.elements)
    assert counts[:3] == [42, 44, 46]
    assert counts[-1] == 60


def test_noise_moves_faint_gaussians_alone_by_their_covariance():
    made = field()
    with torch.no_grad():
        made.opacity_logits.copy_(torch.logit(torch.tensor([0.002, 0.5])).repeat(15))
        made.log_scales[0] = math.log(0.1)
        made.log_scales[2] = math.log(0.01)
        before = made.means.clone()
    call(McmcStrategy(LIMITS, 1e3), table(made), step=3)
    moved = (made.means - before).norm(dim=1)
    assert (moved[0::2] > 0).all()
    assert not moved[1::2].any()
    assert 20 < moved[0] / moved[2] < 500  # the covariance of the first is a hundred times that of the other
    assert moved[0] < 6 * 1e3 * made.rates["means"] * 0.1**2


# In a fit


def view() -> View:
    pose = torch.eye(3, 4)
    pose[2, 3] = -3.0
    return View(40, 30, 40.0, 40.0, 20.0, 15.0, pose)


def fitted(made: Gaussians, optimiser, first: int, last: int, steps: int = 40) -> None:
    photo = torch.rand(30, 40, 3, generator=generator(5))
    for step in range(first, last):
        shown = made.render(view(), made.training_appearance("a", photo))
        optimiser.zero_grad()
        loss = photometric(shown.colour, photo, torch.ones(30, 40))
        (loss + 1e-3 * made.opacities.mean() + 3e-2 * made.scales.mean()).backward()
        optimiser.step()
        made.after_step(step, steps, optimiser)


OPTIONS = {"grow_every": 5, "grad_threshold": 1e-9, "reset_every": 0.3}


@pytest.mark.parametrize("densification", ["budget", "threshold", "mcmc"])
def test_every_strategy_adds_gaussians_within_the_budget(densification: str):
    made = field(densification=densification, **OPTIONS)
    fitted(made, made.optimiser(), 0, 40)
    assert 30 < made.elements <= 60
    assert all(torch.isfinite(p).all() for p in made.parameters())


@pytest.mark.parametrize("densification", ["budget", "threshold", "mcmc"])
def test_a_resumed_fit_equals_an_uninterrupted_one(densification: str, tmp_path: Path, one_thread: None):
    whole = field(densification=densification, **OPTIONS)
    fitted(whole, whole.optimiser(), 0, 40)
    start = field(densification=densification, **OPTIONS)
    optimiser = start.optimiser()
    fitted(start, optimiser, 0, 13)
    torch.save({"field": start.state_dict(), "optimiser": optimiser.state_dict()}, tmp_path / "stopped.ckpt")
    stored = torch.load(tmp_path / "stopped.ckpt", weights_only=True)
    resumed = field(densification=densification, **OPTIONS)
    resumed.load_state_dict(stored["field"])
    again = resumed.optimiser()
    again.load_state_dict(stored["optimiser"])
    fitted(resumed, again, 13, 40)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
