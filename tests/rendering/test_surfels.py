"""Fields as Gaussians: a Gaussian field as it is, any other as surfels that render like it."""

from __future__ import annotations

import pytest
import torch
from omegaconf import OmegaConf

from halonerf.errors import BadInput
from halonerf.factory import build
from halonerf.protocols import SplatField
from halonerf.rendering.surfels import _rotations_onto, open_splats
from halonerf.rotations import matrices
from halonerf.splatting.rasterise import rasterise
from halonerf.types import Rendering, View
from helpers.places import CONF

GROUP = CONF / "field"


def camera(x: float = 0.0, width: int = 40, height: int = 30) -> View:
    pose = torch.eye(3, 4)
    pose[0, 3], pose[2, 3] = x, -2.0
    return View(width, height, 40.0, 40.0, width / 2, height / 2, pose)


class Wall:
    """A wall at z = 0, red to the left of x = 0 and blue to the right; the code is its brightness."""

    elements = 3

    def mean_appearance(self):
        return torch.tensor([0.5])

    def element_centres(self):
        return torch.tensor([[-0.5, 0.0, 0.0], [0.5, 0.0, 0.0], [float("nan")] * 3])

    def render(self, view, appearance, channels=None, normals=False):
        x = (torch.arange(view.width) + 0.5 - view.cx) / view.fx * 2 + view.centre[0]
        red = (x < 0).float().expand(view.height, -1)
        colour = torch.stack([red, torch.zeros_like(red), 1 - red], dim=-1) * appearance
        full = torch.ones(view.height, view.width)
        return Rendering(colour, 2 * full, full)

    def lift(self, view, maps, weight):
        raise AssertionError("not needed")


def test_a_gaussian_field_is_not_baked():
    field = build(OmegaConf.to_container(OmegaConf.load(GROUP / "gaussians.yaml")))
    random = torch.Generator().manual_seed(0)
    field.initialise(torch.randn(50, 3, generator=random), torch.rand(50, 3, generator=random), ("a", "b"), seed=0)
    assert open_splats(field, []) is field
    splats, code = field.splats(), torch.randn(field.mean_appearance().shape, generator=random)
    drawn = rasterise(
        splats.centres, splats.scales, splats.rotations, splats.opacities, field.splat_colours(code), camera()
    )
    shown = field.render(camera(), code)
    background = field.appearance_model.background(camera(), code)
    ours = drawn.features + (1 - drawn.opacity[..., None]) * background
    torch.testing.assert_close(ours, shown.colour, atol=1e-5, rtol=0)
    assert splats.element.tolist() == list(range(50))


def test_surfels_lie_on_the_surface_and_have_its_colours_for_any_appearance():
    baked = open_splats(Wall(), [camera(-0.3), camera(0.3)], size=40)
    assert isinstance(baked, SplatField)
    splats = baked.splats()
    assert len(splats) > 500
    assert splats.centres[:, 2].abs().max() < 1e-5
    upright = matrices(splats.rotations)[:, :, 2]
    torch.testing.assert_close(upright[:, 2].abs(), torch.ones(len(splats)), atol=1e-4, rtol=0)
    assert (splats.scales[:, 2] < splats.scales[:, 0]).all()
    left = splats.centres[:, 0] < 0
    for brightness in (0.2, 0.9):
        colours = baked.splat_colours(torch.tensor([brightness]))
        torch.testing.assert_close(colours[left, 0], torch.full((int(left.sum()),), brightness))
        torch.testing.assert_close(colours[~left, 2], torch.full((int((~left).sum()),), brightness))
    assert (splats.element == (~left).long()).all()


def test_rendered_surfels_cover_the_surface_that_they_were_baked_from():
    view = camera()
    splats = open_splats(Wall(), [view], size=40).splats()
    drawn = rasterise(
        splats.centres, splats.scales, splats.rotations, splats.opacities, torch.ones(len(splats), 1), view
    )
    assert drawn.opacity[2:-2, 2:-2].min() > 0.7
    assert torch.allclose(drawn.depth[2:-2, 2:-2] / drawn.opacity[2:-2, 2:-2], torch.tensor(2.0), atol=0.02)


def test_the_number_of_surfels_is_limited():
    view = camera()
    splats = open_splats(Wall(), [view, camera(0.5)], size=40, max_surfels=200).splats()
    assert 50 < len(splats) <= 200
    drawn = rasterise(
        splats.centres, splats.scales, splats.rotations, splats.opacities, torch.ones(len(splats), 1), view
    )
    assert drawn.opacity.mean() > 0.8


def test_rotations_turn_the_z_axis_to_any_normal():
    normals = torch.tensor([[0.0, 0, 1], [0, 0, -1], [1, 0, 0], [0.6, -0.8, 0], [-0.36, 0.48, 0.8]])
    torch.testing.assert_close(matrices(_rotations_onto(normals))[:, :, 2], normals, atol=1e-5, rtol=0)


def test_a_field_without_centres_or_surfaces_is_refused():
    class Nowhere:
        elements, mean_appearance, render, lift = Wall.elements, Wall.mean_appearance, Wall.render, Wall.lift

    class Empty(Wall):
        def render(self, view, appearance, channels=None, normals=False):
            shown = super().render(view, appearance)
            return Rendering(shown.colour, shown.depth, torch.zeros_like(shown.opacity))

    with pytest.raises(BadInput, match="cannot be baked"):
        open_splats(Nowhere(), [camera()])
    with pytest.raises(BadInput, match="with surfaces"):
        open_splats(Empty(), [camera()])
