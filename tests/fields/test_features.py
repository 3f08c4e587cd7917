"""Features of elements, and functions of them composited in a view: two computations of the same values."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from halonerf.fields.gaussians.features import visible_gaussians
from halonerf.fields.gaussians.field import Gaussians
from halonerf.fields.ha_nerf.field import HaNerf
from halonerf.fields.ha_nerf.voxels import VoxelGrid, contract, expand
from halonerf.types import View


def view(width: int = 45, height: int = 32, distance: float = 2.0, turn: float = 0.0) -> View:
    c, s = math.cos(turn), math.sin(turn)
    pose = torch.tensor([[c, 0.0, s, -distance * s], [0.0, 1.0, 0.0, 0.0], [-s, 0.0, c, -distance * c]])
    return View(width, height, 40.0, 40.0, width / 2, height / 2, pose)


def gaussians(number: int = 400) -> Gaussians:
    """Of all sizes, shapes and opacities, all around and behind the camera."""
    random = torch.Generator().manual_seed(0)
    made = Gaussians()
    made.initialise(torch.randn(number, 3, generator=random), torch.rand(number, 3, generator=random), ["a"], seed=0)
    with torch.no_grad():
        made.log_scales.copy_(torch.randn(number, 3, generator=random) - 3)
        made.rotations.copy_(torch.randn(number, 4, generator=random))
        made.opacity_logits.copy_(torch.randn(number, generator=random) * 2)
    return made.eval().requires_grad_(False)


@pytest.mark.parametrize("part", [None, (3, 5, 11, 9), (40, 0, 5, 32), (0, 20, 17, 12)])
@pytest.mark.parametrize(("distance", "turn"), [(2.0, 0.0), (0.3, 1.0), (0.05, 2.5)])
def test_no_gaussian_that_is_drawn_is_left_out(part: tuple | None, distance: float, turn: float):
    field, seen = gaussians(), view(distance=distance, turn=turn)
    seen = seen.cropped(*part) if part else seen
    listed = visible_gaussians(field.means, field.log_scales.exp(), seen)
    _, share = field.lift(seen, torch.ones(seen.height, seen.width, 1), torch.ones(seen.height, seen.width))
    drawn = (share > 0).nonzero()[:, 0]
    assert len(drawn) > 10
    assert set(drawn.tolist()) <= set(listed.tolist())


def test_few_gaussians_are_evaluated_for_a_small_window():
    field = gaussians()
    with torch.no_grad():
        field.log_scales.fill_(math.log(0.02))
    assert (
        len(visible_gaussians(field.means, field.log_scales.exp(), view().cropped(20, 14, 6, 6))) < 0.1 * field.elements
    )


def test_a_gaussians_feature_holds_position_learnt_feature_and_colour():
    field = gaussians()
    features = field.element_features()
    assert features.shape == (field.elements, field.feature_width)
    assert torch.equal(features[:, :3], field.means)
    assert torch.equal(features[:, -15:-3], field.features)
    torch.testing.assert_close(features[:, -3:], torch.sigmoid(field.colour_logits))


def test_expand_inverts_contract():
    box = torch.tensor([[0.3, -0.2, 1.0], [0.5, 1.0, 2.0]])
    points = torch.randn(500, 3, generator=torch.Generator().manual_seed(1)) * 5
    # relative, for far points: 1 - |c| loses digits there; measured 2e-5
    torch.testing.assert_close(expand(contract(points, box), box), points, atol=1e-4, rtol=1e-4)


def test_a_voxels_centre_lies_in_it():
    support = VoxelGrid(6, 0.05)
    support.initialise(torch.randn(200, 3, generator=torch.Generator().manual_seed(2)))
    support.kept = support.kept[::3].contiguous()
    centres = support.centres()
    assert centres.shape == (support.elements, 3)
    assert centres[-1].isnan().all()
    assert torch.equal(support.elements_at(centres[:-1]), torch.arange(len(support.kept)))


def tiny_nerf() -> HaNerf:
    random = torch.Generator().manual_seed(3)
    made = HaNerf(width=16, depth=3, position_frequencies=3, samples=8, render_samples=12, grid_side=6)
    made.initialise(torch.randn(60, 3, generator=random) * 0.5, torch.rand(60, 3, generator=random), ["a"], seed=0)
    return made.eval()


def test_checkpointed_chunks_have_the_gradient_of_the_whole():
    field = tiny_nerf()
    weight = torch.randn(field.feature_width, 2, generator=torch.Generator().manual_seed(4), requires_grad=True)

    def gradient() -> Tensor:
        shown, _ = field.shade(view().cropped(5, 5, 12, 10), lambda f: torch.sigmoid(f @ weight))
        (found,) = torch.autograd.grad(shown.square().sum(), [weight])
        return found

    whole = gradient()
    field.memory_mb = 0.02  # a few rays at a time
    torch.testing.assert_close(gradient(), whole, atol=1e-5, rtol=1e-4)
    assert whole.abs().max() > 1


def test_a_voxels_feature_is_the_networks_at_its_centre():
    field = tiny_nerf()
    features, centres = field.element_features(), field.element_centres()
    with torch.no_grad():
        expected = field.networks.fine(field.networks.scale * centres[:50])[1]
    torch.testing.assert_close(features[:50], expected, atol=1e-6, rtol=1e-5)
    assert not features[-1].any()
