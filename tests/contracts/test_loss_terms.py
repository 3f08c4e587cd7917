"""Loss terms and losses: shapes, gradients, weights, options as in the YAML, and sums equal to the formulas."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from halonerf.errors import BadInput
from halonerf.factory import build, locate
from halonerf.loss_terms.weighted_sum import WeightedSum
from halonerf.losses import depth_at_points, photometric
from halonerf.protocols import Loss, LossContext, LossTerm, RegularisedField, TrainableField
from helpers.places import CONF
from helpers.small_fields import NAMES, make, view

FILES = sorted((CONF / "loss").glob("*.yaml"))
SIZE = (26, 37)  # px, height and width of the view


def config(name: str) -> dict[str, Any]:
    return OmegaConf.to_container(OmegaConf.load(CONF / "loss" / f"{name}.yaml"))  # type: ignore[return-value]


def context(option: str) -> LossContext:
    """One training step of a small field, with two of five points outside the view."""
    random = torch.Generator().manual_seed(0)
    field: TrainableField = make(option)
    field.initialise(torch.randn(60, 3, generator=random) * 0.5, torch.rand(60, 3, generator=random), NAMES, seed=0)
    field.train()  # type: ignore[attr-defined]
    photo, weight = torch.rand(*SIZE, 3, generator=random), torch.rand(SIZE, generator=random)
    for name in NAMES[:2]:  # a field that encodes compares the second photo's code with the first's
        rendering = field.render(view(), field.training_appearance(name, photo))
    pixels = torch.tensor([[3.5, 4.5], [20.0, 10.2], [36.0, 25.0], [-5.0, 3.0], [10.0, 40.0]])
    return LossContext(field, view(), rendering, photo, weight, pixels, torch.rand(5, generator=random) + 2, 0.3)


@pytest.fixture(params=[path.stem for path in FILES])
def option(request: pytest.FixtureRequest) -> str:
    return request.param


def test_every_term_of_the_yaml_is_a_loss_term_with_the_default_options(option: str):
    for name, entry in config(option)["terms"].items():
        assert isinstance(build(entry), LossTerm), name
        parameters = inspect.signature(locate(entry["_target_"])).parameters
        assert entry.keys() - {"_target_"} == parameters.keys(), name
        defaults = {key: parameter.default for key, parameter in parameters.items()}
        assert {key: entry[key] for key in parameters} == defaults, name


def test_terms_are_differentiable_scalars_that_scale_with_their_weight(option: str):
    step = context(option)
    loss = build(config(option))
    assert isinstance(loss, Loss)
    values = loss(step)
    assert list(values) == list(config(option)["terms"])
    for name, entry in config(option)["terms"].items():
        assert values[name].shape == ()
        assert values[name].isfinite()
        assert values[name].requires_grad, name
        double = build({**entry, "weight": 2 * entry["weight"]})
        torch.testing.assert_close(WeightedSum({name: double})(step)[name], 2 * values[name])


def test_the_default_loss_of_gaussians_is_the_formula():
    step = context("gaussians")
    rendering, field = step.rendering, step.field
    expected = photometric(rendering.colour, step.photo, step.weight, 0.2)
    expected = expected + 1e-3 * torch.sigmoid(field.opacity_logits).mean() + 3e-2 * field.log_scales.exp().mean()
    depth = depth_at_points(
        rendering.depth * rendering.opacity, rendering.opacity, step.point_pixels, step.point_depths
    )
    expected = expected + 0.1 * depth
    found = sum(build(config("gaussians"))(step).values())
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    parameters = [p for p in field.parameters() if p.requires_grad]
    gradients = [
        torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True) for loss in (found, expected)
    ]
    for ours, theirs in zip(*gradients, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


def test_the_default_loss_of_ha_nerf_is_the_formula():
    step = context("ha_nerf")
    rendering, field = step.rendering, step.field
    assert isinstance(field, RegularisedField)
    assert rendering.coarse is not None
    expected = 0.5 * (step.weight * ((rendering.colour - step.photo) ** 2).mean(dim=-1)).mean()
    expected = expected + 0.5 * (step.weight * ((rendering.coarse - step.photo) ** 2).mean(dim=-1)).mean()
    expected = expected + field.regularisation()
    depth = depth_at_points(
        rendering.depth * rendering.opacity, rendering.opacity, step.point_pixels, step.point_depths
    )
    expected = expected + 0.1 * depth
    torch.testing.assert_close(sum(build(config("ha_nerf"))(step).values()), expected, atol=1e-6, rtol=0)
    assert field.regularisation() > 0


@pytest.mark.parametrize(("term", "option"), [("photometric", "gaussians"), ("squared_error", "ha_nerf")])
def test_image_errors_are_weighted_means(term: str, option: str):
    """Affine in the weights, and independent of pixels whose window has no weight."""
    step, error = context(option), build(config(option)["terms"][term])
    random = torch.Generator().manual_seed(5)
    one, other = torch.rand(2, *SIZE, generator=random)
    values = [
        error(
            LossContext(step.field, step.view, step.rendering, step.photo, w, step.point_pixels, step.point_depths, 0)
        )
        for w in (one, other, one + other, torch.zeros(SIZE))
    ]
    torch.testing.assert_close(values[0] + values[1], values[2] + values[3], rtol=1e-4, atol=0)
    assert values[2] > values[0] > values[3]
    half, altered = torch.ones(SIZE), step.photo.clone()
    half[:, 10:] = 0
    altered[:, 20:] = 0.5  # beyond the window of every pixel that counts
    pair = [
        error(LossContext(step.field, step.view, step.rendering, p, half, step.point_pixels, step.point_depths, 0))
        for p in (step.photo, altered)
    ]
    torch.testing.assert_close(pair[0], pair[1], rtol=1e-5, atol=0)


@dataclass
class Failing:
    """A term that must not be evaluated."""

    weight: float
    needs_normals: bool = True

    def __call__(self, context: LossContext) -> torch.Tensor:
        raise AssertionError("evaluated")


def test_terms_of_weight_zero_are_not_evaluated():
    step = context("gaussians")
    loss = WeightedSum({"photometric": build(config("gaussians")["terms"]["photometric"]), "none": Failing(0.0)})
    assert list(loss(step)) == ["photometric"]
    assert not loss.needs_normals
    assert WeightedSum({"some": Failing(0.1)}).needs_normals


def test_a_component_that_is_no_term_is_named():
    with pytest.raises(BadInput, match=r"loss\.terms\.mine to be a loss term.*got int"):
        WeightedSum({"mine": 3})  # type: ignore[dict-item]


def test_a_loss_without_weights_is_refused():
    with pytest.raises(BadInput, match=r"weight other than 0, got none\.\nGive one"):
        WeightedSum({"none": Failing(0.0)})


@pytest.mark.parametrize(("loss", "field"), [("gaussians", "ha_nerf"), ("ha_nerf", "gaussians")])
def test_a_term_that_does_not_suit_the_field_names_both(loss: str, field: str):
    with pytest.raises(
        BadInput, match=r"loss term (MeanOpacity|FieldRegularisation), got (HaNerf|Gaussians)\.\n.*loss="
    ):
        build(config(loss))(context(field))
