"""Learnt heads: they reproduce the maps, are reproducible, and resume."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from halonerf.errors import BadInput
from halonerf.fields.gaussians.field import Gaussians
from halonerf.fields.ha_nerf.field import HaNerf
from halonerf.heads.learning import ROUND_STEPS
from halonerf.heads.linear import Linear
from halonerf.heads.mlp import Mlp
from halonerf.protocols import LearntHead
from halonerf.types import View

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS = 3 * ROUND_STEPS - 20  # three rounds, the last one shorter
OPTIONS = {"steps": STEPS, "rays": 400, "learning_rate": 0.02}


def field() -> Gaussians:
    """A wall of Gaussians; what is right of x = 0.1 is red."""
    random = torch.Generator().manual_seed(0)
    points = torch.rand(150, 3, generator=random) * torch.tensor([1.2, 0.8, 0.02]) - torch.tensor([0.6, 0.4, 0.0])
    made = Gaussians(feature_size=2)
    colours = torch.where(points[:, :1] > 0.1, torch.tensor([[0.9, 0.1, 0.1]]), torch.full((1, 3), 0.5))
    made.initialise(points, colours, ["a"], seed=0)
    with torch.no_grad():
        made.opacity_logits.fill_(3.0)
        made.log_scales.fill_(math.log(0.04))
    return made.eval()


FIELD = field()


def view(shift: float = 0.0, width: int = 40, height: int = 28) -> View:
    pose = torch.eye(3, 4)
    pose[0, 3], pose[2, 3] = shift, -2.0
    return View(width, height, 45.0, 45.0, width / 2, height / 2, pose)


def supervision() -> tuple[list[View], list[Tensor], list[Tensor]]:
    """Two concepts, "right of 0.1" and its opposite, in three photos, one of them upright and small."""
    views, maps = [view(-0.1), view(0.1), view(0.0, 18, 33)], []
    truth = (FIELD.means[:, :1] > 0.1).float()
    for each in views:
        with torch.no_grad():
            shown = FIELD.render(each, FIELD.mean_appearance(), torch.cat([truth, 1 - truth], dim=1))
        maps.append((shown.channels / shown.opacity[..., None].clamp(min=1e-3)).clamp(0, 1))
    return views, maps, [torch.ones_like(given) for given in maps]


@pytest.mark.parametrize("head", [Mlp([16], **OPTIONS), Mlp([16], together=False, **OPTIONS), Linear(**OPTIONS)])
def test_a_fit_reproduces_the_maps(head: LearntHead):
    assert isinstance(head, LearntHead)
    head.fit(FIELD, *supervision())
    seen = head.confidence()[:, 0] > 2
    right = FIELD.means[:, 0] > 0.1
    assert seen.sum() > 50
    assert head.probabilities()[seen & right, 0].mean() > 0.85
    assert head.probabilities()[seen & ~right, 0].mean() < 0.15
    assert head.probabilities()[seen & ~right, 1].mean() > 0.85


def test_nothing_in_the_field_gets_a_gradient():
    Linear(**OPTIONS).fit(FIELD, *supervision())
    assert all(parameter.grad is None for parameter in FIELD.parameters())


@pytest.mark.parametrize("stopped_after", [1, 3])
def test_a_resumed_fit_equals_an_uninterrupted_one(stopped_after: int, tmp_path: Path):
    whole, first, second = (Mlp([16], seed=5, **OPTIONS) for _ in range(3))
    whole.fit(FIELD, *supervision())
    first.start(FIELD, *supervision())
    for number in range(stopped_after):
        first.fit_round(number)
    first.save_state(tmp_path / "state.safetensors")
    second.start(FIELD, *supervision())
    second.load_state(tmp_path / "state.safetensors")
    for number in range(stopped_after, second.rounds):
        second.fit_round(number)
    assert whole.rounds == 3
    assert torch.equal(second.probabilities(), whole.probabilities())  # bit for bit
    assert torch.equal(second.confidence(), whole.confidence())


def test_another_seed_gives_another_head():
    one, same, other = (Mlp([16], seed=seed, **OPTIONS) for seed in (1, 1, 2))
    for head in (one, same, other):
        head.fit(FIELD, *supervision())
    assert torch.equal(one.probabilities(), same.probabilities())
    assert not torch.equal(one.probabilities(), other.probabilities())


def test_separate_networks_fit_as_they_do_alone():
    """A concept's own network does not notice the others, but for the scale of the mean loss, which Adam takes out."""
    views, maps, weights = supervision()
    alone, both = (Mlp([8], together=False, **OPTIONS) for _ in range(2))
    alone.fit(FIELD, views, [m[..., :1] for m in maps], [w[..., :1] for w in weights])
    both.fit(FIELD, views, maps, weights)
    torch.testing.assert_close(both.probabilities()[:, :1], alone.probabilities(), atol=2e-2, rtol=0)


def test_the_papers_targets_are_positive_from_a_fifth_on():
    views, maps, weights = supervision()
    head = Linear(targets="paper", **{**OPTIONS, "steps": 500})
    head.fit(FIELD, views, [torch.full_like(m, 0.25) for m in maps], weights)
    seen = head.confidence()[:, 0] > 2
    assert head.probabilities()[seen].mean() > 0.9
    head.fit(FIELD, views, [torch.full_like(m, 0.15) for m in maps], weights)
    assert head.probabilities()[seen].mean() < 0.1


def learning_rates(head: LearntHead) -> list[float]:
    """The rate of every step of a fit."""
    found: list[float] = []
    head.start(FIELD, *supervision())
    step = head.running.optimiser.step
    head.running.optimiser.step = lambda: (found.append(head.running.optimiser.param_groups[0]["lr"]), step())[1]
    for number in range(head.rounds):
        head.fit_round(number)
    return found


def test_the_papers_rate_is_constant_in_each_pass_over_all_pixels():
    """PyTorch's cosine, stepped once a pass; the fit ends with the fifth pass, and its rounds end empty."""
    paper = {"epochs": 5, "window_from": 0.5, "final_lr_fraction": 2e-4, "learning_rate": 5e-5}
    head = Linear(steps=200, rays=100, **paper)
    passes = (2 * 40 * 28 + 18 * 33) // 100
    reference = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=5e-5)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(reference, T_max=5, eta_min=1e-8)
    expected = []
    for _ in range(5):
        expected += [schedule.get_last_lr()[0]] * passes
        reference.step()
        schedule.step()
    assert passes * 5 < 200
    assert learning_rates(head) == pytest.approx(expected, rel=1e-9)
    assert head.probabilities().shape == (150, 2)
    assert learning_rates(Linear(steps=60, rays=100, **paper)) == pytest.approx(expected[:60], rel=1e-9)


def test_a_grid_of_pixels_is_compared_with_the_pixels_it_lies_in():
    head, photo = Linear(steps=1, rays=81, window_from=0.5), view(0.0, 40, 28)
    numbered = torch.arange(28 * 40).reshape(28, 40)
    widths = []
    for seed in range(30):
        grid, pixels = head._window(photo, torch.Generator().manual_seed(seed))
        assert (grid.width, grid.height) == (9, 9)
        left, top, right, bottom = grid.bounds
        x = (torch.arange(9) + 0.5 - left) * 40 / (right - left)
        y = (torch.arange(9) + 0.5 - top) * 28 / (bottom - top)
        assert torch.equal(numbered[pixels], y.floor().long()[:, None] * 40 + x.floor().long())
        widths.append((x[-1] - x[0]).item() * 9 / 8)
    assert 19.9 < min(widths) < 25
    assert 35 < max(widths) < 40.1


def test_a_fit_from_grids_reproduces_the_maps():
    head = Linear(window_from=0.5, **OPTIONS)
    head.fit(FIELD, *supervision())
    seen, right = head.confidence()[:, 0] > 2, FIELD.means[:, 0] > 0.1
    assert head.probabilities()[seen & right, 0].mean() > 0.85
    assert head.probabilities()[seen & ~right, 0].mean() < 0.15


def test_rounds_come_in_order():
    head = Linear(**OPTIONS)
    with pytest.raises(BadInput, match=r"start\(\) before a round"):
        head.fit_round(0)
    head.start(FIELD, *supervision())
    with pytest.raises(BadInput, match="round 0 to be next, got round 1"):
        head.fit_round(1)


def test_the_state_of_another_fit_is_refused(tmp_path: Path):
    wide, narrow = Mlp([16], **OPTIONS), Mlp([8], **OPTIONS)
    for head in (wide, narrow):
        head.start(FIELD, *supervision())
    wide.fit_round(0)
    wide.save_state(tmp_path / "state.safetensors")
    with pytest.raises(BadInput, match="same concepts and options"):
        narrow.load_state(tmp_path / "state.safetensors")


def test_a_field_without_features_is_refused():
    from helpers.placeless_field import Nowhere

    with pytest.raises(BadInput, match=r"features.*Nowhere.*\n.*head=lifted"):
        Linear(**OPTIONS).fit(Nowhere(), *supervision())


def test_heads_are_fitted_to_samples_of_the_papers_field():
    """A fog of even density that photos call 0.8 everywhere: so do its voxels, as far as rays reached them."""
    random = torch.Generator().manual_seed(1)
    nerf = HaNerf(width=16, depth=3, position_frequencies=2, samples=6, render_samples=8, grid_side=5)
    nerf.initialise(torch.randn(60, 3, generator=random) * 0.5, torch.rand(60, 3, generator=random), ["a"], seed=0)
    nerf.eval()
    before = {name: value.clone() for name, value in nerf.state_dict().items()}
    views = [view(0.0, 16, 12), view(0.1, 16, 12)]
    head = Mlp([8], steps=4 * ROUND_STEPS, rays=100, learning_rate=0.02, together=False)
    head.fit(nerf, views, [torch.full((12, 16, 1), 0.8)] * 2, [torch.ones(12, 16, 1)] * 2)
    seen = head.confidence()[:-1, 0] > 0.5
    assert seen.sum() > 5
    # voxels are asked in their middle, where no sample may have been: measured 0.043
    assert (head.probabilities()[:-1, 0][seen] - 0.8).abs().mean() < 0.08
    assert all(torch.equal(before[name], value) for name, value in nerf.state_dict().items())
    probability, _ = head.render(nerf, views[0], nerf.mean_appearance())
    assert (probability - 0.8).abs().mean() < 0.1
