"""Normals of flat Gaussians: upright, towards the camera, composited with the colours' weights."""

from __future__ import annotations

import pytest
import torch

from halonerf.fields.gaussians.field import Gaussians
from halonerf.fields.gaussians.table import facing_normals
from halonerf.types import View

FRONTAL = View(9, 9, 20.0, 20.0, 4.5, 4.5, torch.eye(3, 4))


def discs(angle: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two discs on the axis, flat along their own z, turned about the x axis by `angle`, radians."""
    means = torch.tensor([[0.0, 0.0, 2.0], [0.0, 0.0, 3.0]])
    flat = torch.tensor([[0.5, 0.4, 0.01]]).log().expand(2, 3)
    half = torch.tensor(angle / 2)
    return means, flat, 3 * torch.stack([half.cos(), half.sin(), half * 0, half * 0]).expand(2, 4)


@pytest.mark.parametrize("angle", [0.0, 0.6, -0.6, 3.0])
def test_the_shortest_axis_faces_the_camera(angle: float):
    normals = facing_normals(*discs(angle), torch.zeros(3))
    axis = torch.tensor([0.0, -torch.tensor(angle).sin(), torch.tensor(angle).cos()])
    expected = -axis if axis[2] > 0 else axis
    torch.testing.assert_close(normals, expected.expand(2, 3), atol=1e-6, rtol=0)
    torch.testing.assert_close(facing_normals(*discs(angle), torch.tensor([0.0, 0.0, 9.0])), -normals)


@torch.no_grad()
def test_normals_are_composited_beside_the_colours():
    field = Gaussians(code_size=2)
    points = torch.tensor([[0.0, 0.0, 2.0], [0.0, 0.0, 3.0], [9.0, 9.0, 2.0], [-9.0, 9.0, 2.0]])
    field.initialise(points, torch.full((4, 3), 0.5), ("a.jpg",), seed=0)
    means, flat, rotations = discs(0.6)
    field.log_scales[:2], field.rotations[:2] = flat, rotations
    field.opacity_logits.fill_(1.0)
    channels = torch.rand(4, 2)
    shown = field.render(FRONTAL, field.mean_appearance(), channels, normals=True)
    plain = field.render(FRONTAL, field.mean_appearance(), channels)
    expected = shown.opacity[..., None] * facing_normals(means, flat, rotations, torch.zeros(3))[0]
    torch.testing.assert_close(shown.normals, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(shown.channels, plain.channels)
    torch.testing.assert_close(shown.colour, plain.colour)
    assert plain.normals is None
    assert shown.opacity[4, 4] > 0.9
