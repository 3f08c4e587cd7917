"""Views at other resolutions: what is rendered coincides with the photo shrunk to the same size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from halonerf.fields.gaussians.field import Gaussians
from halonerf.fields.ha_nerf.field import HaNerf
from halonerf.geometry import pixel_centres, random_grid, ray_directions, sample_image
from halonerf.splatting.rasterise import rasterise
from halonerf.types import View

SIZES = [(64, 48), (65, 49), (63, 48), (64, 47), (81, 55)]  # px


def camera(width: int, height: int) -> View:
    """At the origin, looking along +z, its axis off the middle of the picture."""
    return View(width, height, 70.0, 73.0, width / 2 + 2.3, height / 2 - 1.4, torch.eye(3, 4))


def averaging(old: int, new: int) -> Tensor:
    """The mean over each of `new` equal parts of `old` pixels, [new, old]: parts of pixels count as such."""
    edges = torch.arange(new + 1, dtype=torch.float64) * old / new
    pixel = torch.arange(old, dtype=torch.float64)
    inside = (torch.minimum(edges[1:, None], pixel + 1) - torch.maximum(edges[:-1, None], pixel)).clamp(min=0)
    return inside * new / old


def displacement(image: Tensor, other: Tensor) -> Tensor:
    """Least-squares shift (x, y), px, between two images [H, W] that differ little."""
    across, down = (image[1:-1, 2:] - image[1:-1, :-2]) / 2, (image[2:, 1:-1] - image[:-2, 1:-1]) / 2
    slopes = torch.stack([across.flatten(), down.flatten()], dim=1)
    return torch.linalg.lstsq(slopes, (other - image)[1:-1, 1:-1].flatten()[:, None]).solution[:, 0]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_rendering_at_half_resolution_coincides_with_the_shrunk_rendering(width: int, height: int):
    """Gaussians of some pixels; of odd sizes, half is rounded down and the camera's two focal lengths differ."""
    random = torch.Generator().manual_seed(0)
    whole = camera(width, height)
    means = torch.rand(40, 3, generator=random) * torch.tensor([0.7, 0.5, 0.2]) + torch.tensor([-0.35, -0.25, 1.0])
    shapes = [means, torch.full((40, 3), 0.05), torch.tensor([[1.0, 0, 0, 0]]).expand(40, 4), torch.full((40,), 0.4)]
    half = Gaussians().training_view(whole, 0.0, random)
    assert (half.width, half.height) == (width // 2, height // 2)
    full, small = (rasterise(*shapes, torch.ones(40, 1), seen).opacity.double() for seen in (whole, half))
    shrunk = averaging(height, half.height) @ full @ averaging(width, half.width).T
    assert displacement(shrunk, small).abs().max() < 0.03  # measured: 0.018 at most, with even sizes and odd ones
    assert displacement(shrunk, small.roll(1, dims=1)).abs().max() > 0.5


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_photos_are_sampled_where_the_rays_of_a_grid_are(width: int, height: int):
    """A photo whose colours are the places of its pixels, seen at the pixels of the paper's field."""
    whole, field = camera(width, height), HaNerf(width=8, depth=2, grid_side=4, rays=16 * 16)
    places = pixel_centres(whole).float()
    photo = torch.cat([places, torch.zeros(height, width, 1)], dim=-1)
    for seed in range(8):
        random = torch.Generator().manual_seed(seed)
        for seen in (field.training_view(whole, 0.5, random), random_grid(whole, 5, 0.5, random)):
            rays = ray_directions(seen, pixel_centres(seen))
            through = torch.stack([rays[..., 0] * whole.fx + whole.cx, rays[..., 1] * whole.fy + whole.cy], dim=-1)
            inside = (through >= 0.5).all(dim=-1) & (through <= torch.tensor([width, height]) - 0.5).all(dim=-1)
            found = sample_image(photo, seen, field.antialiased)[..., :2]
            assert inside.float().mean() > 0.9
            assert (found - through)[inside].abs().max() < 1e-3
