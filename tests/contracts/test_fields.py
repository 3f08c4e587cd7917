"""Contract of radiance fields: ranges, shapes, a linear map and its adjoint, fitting, and files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from halonerf.errors import BadInput
from halonerf.protocols import FeatureField, PlacedField, RegularisedField, TrainableField
from helpers.small_fields import NAMES, OPTIONS, make, view

STEPS = 30


@pytest.fixture(params=OPTIONS)
def option(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def field(option: str) -> TrainableField:
    random = torch.Generator().manual_seed(0)
    made = make(option)
    made.initialise(torch.randn(60, 3, generator=random) * 0.5, torch.rand(60, 3, generator=random), NAMES, seed=0)
    return made


def test_is_a_trainable_field(field: TrainableField):
    assert isinstance(field, TrainableField)
    assert isinstance(field, torch.nn.Module)


@torch.no_grad()
def test_a_rendering_has_the_views_shape_and_valid_ranges(field: TrainableField):
    shown = field.render(view(), field.appearance("a.jpg"))
    assert shown.colour.shape == (26, 37, 3)
    assert shown.depth.shape == shown.opacity.shape == (26, 37)
    assert 0 <= shown.colour.min() <= shown.colour.max() <= 1 + 1e-5
    assert 0 <= shown.opacity.min() <= shown.opacity.max() <= 1
    assert shown.channels is None
    assert shown.opacity.max() > 0.05
    hit = shown.opacity > 0.05
    assert 0.5 < shown.depth[hit].min() <= shown.depth[hit].max() < 4.5  # the points lie 2.5 away, give or take 2


@torch.no_grad()
def test_channels_of_one_composite_to_the_opacity(field: TrainableField):
    shown = field.render(view(), field.mean_appearance(), torch.ones(field.elements, 2))
    for k in range(2):
        torch.testing.assert_close(shown.channels[..., k], shown.opacity, atol=1e-5, rtol=0)


@torch.no_grad()
def test_lift_is_the_adjoint_of_channels(field: TrainableField):
    random = torch.Generator().manual_seed(1)
    channels = torch.rand(field.elements, 4, generator=random)
    maps, weight = torch.rand(26, 37, 4, generator=random), torch.rand(26, 37, generator=random)
    shown = field.render(view(), field.mean_appearance(), channels).channels
    sums, weights = field.lift(view(), maps, weight)
    assert (shown * maps * weight[..., None]).sum().item() == pytest.approx((channels * sums).sum().item(), rel=1e-4)
    ones = field.render(view(), field.mean_appearance(), torch.ones(field.elements, 1)).channels[..., 0]
    assert (ones * weight).sum().item() == pytest.approx(weights.sum().item(), rel=1e-4)


@torch.no_grad()
def test_lifted_ones_sum_to_the_opacity(field: TrainableField):
    """What all elements together were told is what the view's pixels have to tell: neither lost nor told twice."""
    ones = torch.ones(26, 37)
    said, support = field.lift(view(), torch.full((26, 37, 2), 0.25), ones)
    opacity = field.render(view(), field.mean_appearance()).opacity
    assert support.sum().item() == pytest.approx(opacity.sum().item(), rel=1e-5)  # sums of float32
    torch.testing.assert_close(said, 0.25 * support[:, None].expand(-1, 2), atol=1e-6, rtol=1e-5)
    assert support.min() >= 0


@torch.no_grad()
def test_lift_is_linear_and_ignores_pixels_without_weight(field: TrainableField):
    random = torch.Generator().manual_seed(7)
    one, other = torch.rand(2, 26, 37, 1, generator=random)
    weight = torch.rand(26, 37, generator=random)
    weight[:, 20:] = 0
    spoilt = one.clone()
    spoilt[:, 20:] = 0.77
    sums = [field.lift(view(), maps, weight)[0] for maps in (one, other, one + 2 * other, spoilt)]
    torch.testing.assert_close(sums[0] + 2 * sums[1], sums[2], atol=1e-5, rtol=1e-4)
    assert torch.equal(sums[0], sums[3])


def test_elements_have_positions(field: TrainableField):
    assert isinstance(field, PlacedField)
    centres = field.element_centres()
    assert centres.shape == (field.elements, 3)
    assert centres.isfinite().all(dim=1).sum() >= field.elements - 1  # all other space is in no one place


@torch.no_grad()
def test_features_are_numbers_of_elements(field: TrainableField):
    assert isinstance(field, FeatureField)
    features = field.element_features()
    assert features.shape == (field.elements, field.feature_width)
    assert features.isfinite().all()
    assert torch.equal(features, field.element_features())
    assert features[:-1].std(dim=0).max() > 0


@torch.no_grad()
@pytest.mark.parametrize("part", [None, (0, 0, 13, 11), (20, 9, 17, 17)])
def test_a_constant_function_shades_to_the_opacity(field: TrainableField, part: tuple[int, int, int, int] | None):
    seen = view().cropped(*part) if part else view()
    shown, opacity = field.shade(seen, lambda features: torch.full((len(features), 2), 0.5))
    assert shown.shape == (seen.height, seen.width, 2)
    torch.testing.assert_close(shown, 0.5 * opacity[..., None].expand(-1, -1, 2), atol=1e-5, rtol=0)
    torch.testing.assert_close(opacity, field.render(seen, field.mean_appearance()).opacity, atol=1e-5, rtol=0)


def test_shading_gives_gradients_to_the_function_and_to_nothing_else(field: TrainableField):
    random = torch.Generator().manual_seed(8)
    weight = torch.randn(field.feature_width, 2, generator=random).div(field.feature_width).requires_grad_()
    asked = []

    def function(features: torch.Tensor) -> torch.Tensor:
        asked.append(features)
        return torch.sigmoid(features @ weight)

    shown, opacity = field.shade(view(), function)
    assert not opacity.requires_grad
    assert all(features.shape[1] == field.feature_width and not features.requires_grad for features in asked)
    target = torch.rand(26, 37, 2, generator=random)
    loss = ((shown - target) ** 2).sum()
    loss.backward()
    assert all(parameter.grad is None for parameter in field.parameters())
    step = 1e-3 * torch.randn(weight.shape, generator=random)
    with torch.enable_grad():  # the same samples as before
        moved = [((field.shade(view(), lambda f, w=w: torch.sigmoid(f @ w))[0] - target) ** 2).sum().item()
                 for w in (weight + step, weight - step)]  # fmt: skip
    slope = (weight.grad * step).sum().item()
    assert abs(slope) > 1e-4
    assert (moved[0] - moved[1]) / 2 == pytest.approx(slope, rel=0.05, abs=5e-4)  # float32 sums of 2,000 squares


@torch.no_grad()
def test_a_photo_that_was_not_fitted_has_the_mean_code(field: TrainableField):
    assert torch.equal(field.appearance("unseen.jpg"), field.mean_appearance())


def photo(width: int = 37, height: int = 26) -> torch.Tensor:
    """[H, W, 3] in [0, 1]."""
    return torch.rand(height, width, 3, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("progress", [0.0, 0.5, 0.99])
def test_a_training_view_is_a_part_of_its_view(field: TrainableField, progress: float):
    for whole in (view(), view().cropped(0, 0, 19, 26), view().cropped(7, 3, 20, 20)):
        part = field.training_view(whole, progress, torch.Generator().manual_seed(1))
        again = field.training_view(whole, progress, torch.Generator().manual_seed(1))
        assert part == again
        assert (part.bounds, part.camera_to_world is whole.camera_to_world) == (again.bounds, True)
        scale = (whole.bounds[2] - whole.bounds[0]) / (part.bounds[2] - part.bounds[0])
        left, right = (whole.bounds[0] - part.bounds[0] * scale, (part.width - part.bounds[0]) * scale)
        assert left >= -1e-4  # in pixels of the whole, from its left edge
        assert right + whole.bounds[0] <= whole.width + 1e-4


def test_a_code_is_encoded_or_stored(field: TrainableField):
    code = field.training_appearance("b.jpg", photo())
    assert code.shape == field.mean_appearance().shape
    torch.testing.assert_close(field.appearance("b.jpg"), code)
    if not field.encodes:
        with pytest.raises(BadInput, match="computes codes from photos"):
            field.encode(photo())
        return
    for given in (photo(), photo(91, 60), photo(19, 26)):
        with torch.no_grad():
            assert field.encode(given).shape == code.shape
    assert code.requires_grad
    assert not field.encode(photo()).equal(field.encode(1 - photo()))


def fitted(field: TrainableField) -> list[float]:
    """Fit one view to a two-coloured picture; the losses."""
    target = torch.zeros(26, 37, 3)
    target[:, :18, 0], target[:, 18:, 2] = 0.9, 0.8
    field.train()
    optimiser, losses = field.optimiser(), []
    for step in range(STEPS):
        optimiser.zero_grad()
        shown = field.render(view(), field.appearance("b.jpg"))
        loss = (shown.colour - target).abs().mean()
        if isinstance(field, RegularisedField):
            loss = loss + field.regularisation()
        loss.backward()
        optimiser.step()
        field.after_step(step, STEPS, optimiser)
        losses.append(loss.item())
    return losses


def test_a_fit_lowers_the_loss(field: TrainableField):
    losses = fitted(field)
    assert losses[-1] < 0.75 * losses[0]  # thirty steps of Adam move a colour by a third of its range at most


def test_a_fit_is_reproducible(option: str, field: TrainableField):
    twin = make(option)
    twin.initialise(torch.zeros(9, 3) + torch.arange(9)[:, None], torch.zeros(9, 3), NAMES, seed=0)
    twin.load_state_dict(field.state_dict())
    random = torch.Generator().manual_seed(0)
    points, colours = torch.randn(60, 3, generator=random) * 0.5, torch.rand(60, 3, generator=random)
    twin.initialise(points, colours, NAMES, seed=0)
    assert fitted(twin) == fitted(field)


@torch.no_grad()
def test_what_was_saved_is_loaded(option: str, field: TrainableField, tmp_path: Path):
    with torch.enable_grad():
        fitted(field)
    field.save(tmp_path / "field.safetensors")
    twin = make(option)
    twin.load(tmp_path / "field.safetensors")
    assert twin.elements == field.elements
    for name in (*NAMES, "unseen.jpg"):
        expected = field.render(view(), field.appearance(name))
        found = twin.render(view(), twin.appearance(name))
        assert torch.equal(found.colour, expected.colour)
        assert torch.equal(found.depth, expected.depth)


def test_a_file_of_something_else_is_refused(field: TrainableField, tmp_path: Path):
    save_file({"means": torch.zeros(3, 3)}, tmp_path / "other.safetensors", metadata={"field": "other"})
    with pytest.raises(BadInput, match="expected a field of"):
        field.load(tmp_path / "other.safetensors")


def test_a_scene_without_points_is_refused(option: str):
    with pytest.raises(BadInput, match="at least 4 scene points"):
        make(option).initialise(torch.zeros(3, 3), torch.zeros(3, 3), NAMES, seed=0)
