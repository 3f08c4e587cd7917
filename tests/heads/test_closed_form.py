"""Lifting on surfaces known in closed form, and the linear map behind it in double precision."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from halonerf.fields.gaussians.field import Gaussians
from halonerf.geometry import pixel_centres
from halonerf.heads.lifted import Lifted
from halonerf.splatting.rasterise import lift, rasterise
from halonerf.types import View

FOCAL, DISTANCE = 60.0, 2.0
SIGMA = 0.1  # world units


def camera(width: int = 81, height: int = 61) -> View:
    pose = torch.eye(3, 4)
    pose[2, 3] = -DISTANCE
    return View(width, height, FOCAL, FOCAL, width / 2, height / 2, pose)


def discs(places: list[tuple[float, float, float]], opacity: float = 0.9) -> Gaussians:
    """Round Gaussians of deviation SIGMA; x and y are pixels of the camera when z = 0."""
    made = Gaussians()
    filled = places + [(0.0, 0.0, -50.0 - k) for k in range(4)]  # a field starts from four points: some behind all
    view = camera()
    points = torch.tensor(
        [((x - view.cx) * DISTANCE / FOCAL, (y - view.cy) * DISTANCE / FOCAL, z) for x, y, z in filled]
    )
    made.initialise(points, torch.full((len(filled), 3), 0.5), ["a"], seed=0)
    with torch.no_grad():
        made.opacity_logits.fill_(math.log(opacity / (1 - opacity)))
        made.log_scales.fill_(math.log(SIGMA))
    return made.eval().requires_grad_(False)


def lifted(field: Gaussians, maps: list[Tensor], weights: list[Tensor], **options) -> Lifted:
    head = Lifted(**options)
    head.fit(field, [camera()] * len(maps), maps, weights)
    return head


@pytest.mark.parametrize("robust", ["none", "trimmed", "median"])
def test_a_ramp_gives_the_value_at_the_centre(robust: str):
    """A disc's share falls off alike on both sides, so that the mean of a ramp is its value in the middle."""
    places = [(20.5, 30.5, 0.0), (60.5, 15.5, 0.0), (50.5, 45.5, 0.0)]
    ramp = (0.1 + 0.008 * pixel_centres(camera())[..., :1] + 0.002 * pixel_centres(camera())[..., 1:]).clamp(0, 1)
    head = lifted(discs(places), [ramp, ramp], [torch.ones_like(ramp)] * 2, robust=robust)
    expected = torch.tensor([0.1 + 0.008 * x + 0.002 * y for x, y, _ in places])
    exact = 1e-4 if robust == "none" else 4e-4  # votes are kept in half precision
    torch.testing.assert_close(head.probabilities()[:3, 0], expected, atol=exact, rtol=0)
    assert not head.confidence()[3:].any()


def test_an_edge_gives_the_share_of_the_disc_beyond_it():
    """A step at distance d from the centre of a disc of deviation s px: Phi(d / s), cut off where it is not drawn."""
    field, view = discs([(40.5, 30.5, 0.0)]), camera()
    deviation = math.sqrt((FOCAL * SIGMA / DISTANCE) ** 2 + 0.3)
    for d in (-3, 0, 2):
        x = pixel_centres(view)[..., :1]
        step = (x < 40.5 + d).float() + 0.5 * (x == 40.5 + d)
        found = lifted(field, [step], [torch.ones_like(step)]).probabilities()[0, 0].item()
        # a sum over pixels instead of an integral, and no tails below 1/255: measured 1.4e-3 at most
        assert found == pytest.approx(0.5 * (1 + math.erf(d / deviation / math.sqrt(2))), abs=3e-3)


def test_photos_count_by_their_weights():
    ones = torch.ones(61, 81, 1)
    field = discs([(40.5, 30.5, 0.0)])
    head = lifted(field, [0.9 * ones, 0.2 * ones, 0.4 * ones], [ones, 0.5 * ones, 0 * ones])
    assert head.probabilities()[0, 0].item() == pytest.approx((0.9 + 0.5 * 0.2) / 1.5, abs=1e-4)


def test_occluded_surfaces_count_by_their_transmittance():
    """Two discs in a row: what is behind gets (1 - alpha) of the light, pixel by pixel."""
    view = camera()
    field = discs([(40.5, 30.5, -0.2), (40.5, 30.5, 0.2)])
    away = (pixel_centres(view) - torch.tensor([40.5, 30.5])).square().sum(dim=-1).double()

    def alpha(z: float) -> Tensor:
        variance = (FOCAL * SIGMA / (DISTANCE + z)) ** 2 + 0.3
        drawn = 0.9 * torch.exp(-0.5 * away / variance)
        return torch.where(drawn >= 1 / 255, drawn, 0.0)

    given = (away < 9).double()
    near, far = alpha(-0.2), (1 - alpha(-0.2)) * alpha(0.2)
    expected = [((share * given).sum() / share.sum()).item() for share in (near, far)]
    ones = torch.ones(61, 81, 1)
    head = lifted(field, [given.float()[..., None]], [ones])
    assert head.probabilities()[:2, 0].tolist() == pytest.approx(expected, abs=1e-4)
    assert head.confidence()[:2, 0].tolist() == pytest.approx([near.sum().item(), far.sum().item()], rel=1e-4)
    assert expected[0] > expected[1] + 0.05  # the discs are told apart


def test_lifting_is_the_exact_adjoint_and_shares_sum_to_the_opacity():
    """With the plain engine in double precision nothing but rounding is left."""
    random = torch.Generator().manual_seed(0)
    number, view = 60, camera(33, 22)
    shapes = [
        torch.randn(number, 3, generator=random).double() * 0.4,
        torch.rand(number, 3, generator=random).double() * 0.2 + 0.02,
        torch.randn(number, 4, generator=random).double(),
        torch.rand(number, generator=random).double(),
    ]
    values, maps = torch.rand(number, 3, generator=random).double(), torch.rand(22, 33, 3, generator=random).double()
    drawn = rasterise(*shapes, values, view, engine="reference")
    told = lift(*shapes, maps, view, engine="reference")
    assert (drawn.features * maps).sum().item() == pytest.approx((values * told).sum().item(), rel=1e-12)
    ones = rasterise(*shapes, torch.ones(number, 1).double(), view, engine="reference")
    torch.testing.assert_close(ones.features[..., 0], ones.opacity, atol=1e-13, rtol=0)
    shares = lift(*shapes, torch.ones(22, 33, 1).double(), view, engine="reference")
    assert shares.sum().item() == pytest.approx(drawn.opacity.sum().item(), rel=1e-12)
    assert drawn.opacity.max() > 0.9
