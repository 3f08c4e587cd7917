"""A scene in closed form is recovered from its images, and is not changed by heads."""

from __future__ import annotations

import importlib.util
import math

import pytest
import torch
from torch import Tensor

from halonerf.fields.gaussians.field import Gaussians
from halonerf.geometry import pixel_centres, ray_directions, sample_image
from halonerf.heads.lifted import Lifted
from halonerf.losses import photometric
from halonerf.types import View

CENTRE, RADIUS, WALL = torch.tensor([0.0, 0.0, 0.3]), 0.5, 1.2  # a ball in front of the plane z = WALL; world units
STEPS = 220


def camera(angle: float, height: float, width: int = 80, rows: int = 60) -> View:
    """Looks at the ball from 2.5 away, `angle` to the side, radians, and `height` above it."""
    eye = torch.tensor([2.5 * math.sin(angle), -height, 0.3 - 2.5 * math.cos(angle)])
    forward = torch.nn.functional.normalize(CENTRE - eye, dim=0)
    right = torch.nn.functional.normalize(torch.linalg.cross(torch.tensor([0.0, 1.0, 0.0]), forward), dim=0)
    turn = torch.stack([right, torch.linalg.cross(forward, right), forward], dim=1)
    return View(width, rows, 90.0, 90.0, width / 2, rows / 2, torch.cat([turn, eye[:, None]], dim=1))


def look(view: View, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Colour [..., 3] and depth [...] along the optical axis that the rays through pixels [..., 2] meet."""
    rays = ray_directions(view, pixels)
    away = view.centre - CENTRE
    a, b, c = (rays**2).sum(-1), (rays * away).sum(-1), (away**2).sum() - RADIUS**2
    inside = b * b - a * c
    on_ball = inside > 0
    depth = torch.where(on_ball, (-b - inside.clamp(min=0).sqrt()) / a, (WALL - view.centre[2]) / rays[..., 2])
    points = view.centre + depth[..., None] * rays
    waves = 0.5 + 0.35 * torch.sin(7 * points + torch.tensor([0.0, 1.0, 2.0]))
    stripes = 0.5 + 0.35 * torch.sin(11 * points[..., :1] + torch.tensor([0.0, 2.0, 4.0]))
    return torch.where(on_ball[..., None], stripes, waves), depth


def photograph(view: View) -> tuple[Tensor, Tensor]:
    """The picture [H, W, 3], each pixel the mean of 4 x 4 rays, and the depth [H, W] at its centre."""
    fine, _ = look(view, pixel_centres(view.resized(4 * view.width, 4 * view.height)) / 4)
    picture = fine.reshape(view.height, 4, view.width, 4, 3).mean(dim=(1, 3))
    return picture, look(view, pixel_centres(view))[1]


def points_of(views: list[View], number: int) -> tuple[Tensor, Tensor]:
    """Points [N, 3] on the surfaces and their colours, as structure from motion would find them: a little off."""
    random = torch.Generator().manual_seed(0)
    points, colours = [], []
    for view in views:
        pixels = torch.rand(number // len(views), 2, generator=random) * torch.tensor([view.width, view.height])
        colour, depth = look(view, pixels)
        points.append(view.centre + depth[:, None] * ray_directions(view, pixels))
        colours.append(colour)
    found = torch.cat(points)
    return found + 0.01 * torch.randn(found.shape, generator=random), torch.cat(colours)


def fit(device: str = "cpu") -> tuple[Gaussians, View]:
    """A field fitted to twelve pictures, and a view that was not among them."""
    views = [camera(a, h) for h in (-0.3, 0.5) for a in torch.linspace(-0.6, 0.6, 6).tolist()]
    names = [f"{i}.png" for i in range(len(views))]
    field = Gaussians(budget=2500, grow_every=20, code_size=2, feature_size=2, width=8)
    field.initialise(*points_of(views, 600), names, seed=0)
    field.to(device)
    shots = [photograph(view)[0].to(device) for view in views]
    optimiser = field.optimiser()
    for step in range(STEPS):
        index = (5 * step) % len(views)
        whole = views[index].to(device)
        view = field.training_view(whole, step / STEPS, torch.Generator().manual_seed(step))
        photo = sample_image(shots[index], view, field.antialiased)
        shown = field.render(view, field.training_appearance(names[index], shots[index]))
        loss = photometric(shown.colour, photo, torch.ones_like(photo[..., 0]))
        loss = loss + 1e-3 * field.opacities.mean() + 3e-2 * field.scales.mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        field.after_step(step, STEPS, optimiser)
    return field.eval().requires_grad_(False), camera(0.13, 0.1).to(device)


def figures(field: Gaussians, view: View) -> tuple[float, float, float]:
    """PSNR in dB; median and 90th percentile of the error of depth, world units, away from the ball's rim."""
    picture, depth = photograph(view.to("cpu"))
    shown = field.render(view, field.mean_appearance())
    psnr = -10 * math.log10(((shown.colour.cpu() - picture) ** 2).mean().item())
    error = (shown.depth.cpu() - depth).abs()
    edge = torch.nn.functional.max_pool2d(depth[None, None], 5, 1, 2)[0, 0] - depth > 0.3
    edge |= depth + torch.nn.functional.max_pool2d(-depth[None, None], 5, 1, 2)[0, 0] > 0.3
    return psnr, error[~edge].quantile(0.5).item(), error[~edge].quantile(0.9).item()


@pytest.fixture(scope="module")
def fitted() -> tuple[Gaussians, View]:
    return fit()


def recovered(field: Gaussians, view: View) -> None:
    psnr, median, most = figures(field, view)
    # Measured 34.7 dB, 0.037 and 0.086, in a scene 2 to 4 units away; photos alone say nothing finer about depth.
    assert psnr > 32
    assert median < 0.06
    assert most < 0.14


def test_a_ball_before_a_wall_is_recovered(fitted: tuple[Gaussians, View]):
    recovered(*fitted)


@pytest.mark.gpu
@pytest.mark.skipif(
    not torch.cuda.is_available() or importlib.util.find_spec("gsplat") is None,
    reason="needs a CUDA device and pip install 'halonerf[cuda]'",
)
def test_a_ball_before_a_wall_is_recovered_on_a_gpu():
    recovered(*fit("cuda"))


def test_normals_are_those_of_the_ball_and_the_wall(fitted: tuple[Gaussians, View]):
    field, view = fitted
    normals = torch.nn.functional.normalize(field.render(view, field.mean_appearance(), normals=True).normals, dim=-1)
    pixels = pixel_centres(view)
    spoke = view.centre + look(view, pixels)[1][..., None] * ray_directions(view, pixels) - CENTRE
    ball = (spoke.norm(dim=-1) - RADIUS).abs() < 1e-3
    # Mean cosines: measured 0.96 on the ball and 0.87 on the wall; normals at random would have 0.5.
    assert (normals * spoke / RADIUS).sum(dim=-1)[ball].mean() > 0.9
    assert -normals[~ball][:, 2].mean() > 0.75


def test_heads_never_change_the_field(fitted: tuple[Gaussians, View]):
    """Rendering, lifting, fitting a head and drawing it leave every parameter exactly equal."""
    field, view = fitted
    before = {name: value.clone() for name, value in field.state_dict().items()}
    random = torch.Generator().manual_seed(1)
    maps = [torch.rand(view.height, view.width, 3, generator=random) for _ in range(2)]
    field.render(view, field.mean_appearance(), torch.rand(field.elements, 2, generator=random), normals=True)
    field.lift(view, maps[0], torch.ones(view.height, view.width))
    head = Lifted(refinements=1)
    head.fit(field, [view, camera(0.3, 0.2)], maps, [torch.ones_like(m) for m in maps])
    head.render(field, view, field.mean_appearance())
    after = field.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
