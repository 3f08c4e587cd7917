"""Contract of transient masks: shapes and ranges, weights of mean one, masking, and state."""

from __future__ import annotations

import pytest
import torch
from omegaconf import OmegaConf

from halonerf.factory import build
from halonerf.protocols import TransientMask
from halonerf.types import Rendering, View
from helpers.places import CONF

GROUP = CONF / "transients"
OPTIONS = sorted(path.stem for path in GROUP.glob("*.yaml"))
TINY = {"none": {}, "residual": {"reach": 0.03}, "network": {"width": 32, "learning_rate": 1e-2}}
NAMES = ("a.jpg", "b.jpg")
SIZE = (48, 64)  # px, height and width
STEPS = 150


def make(option: str) -> TransientMask:
    assert option in TINY, f"name a tiny offline instance of mask '{option}' here"
    mask = build({**OmegaConf.to_container(OmegaConf.load(GROUP / f"{option}.yaml")), **TINY[option]})
    mask.initialise({name: matched() for name in NAMES}, seed=0)
    return mask


def view() -> View:
    return View(SIZE[1], SIZE[0], 50.0, 50.0, SIZE[1] / 2, SIZE[0] / 2, torch.eye(3, 4))


def person() -> torch.Tensor:
    """Pixels of a passer-by, bool [H, W]."""
    there = torch.zeros(SIZE, dtype=torch.bool)
    there[20:44, 12:26] = True
    return there


def matched() -> torch.Tensor:
    """Points that other photos saw, too: all over the photo, but not on the passer-by."""
    x, y = torch.meshgrid(torch.linspace(0.05, 0.95, 9), torch.linspace(0.05, 0.95, 7), indexing="ij")
    points = torch.stack([x.flatten(), y.flatten()], dim=1)
    column, row = (points * torch.tensor([SIZE[1], SIZE[0]])).long().T
    return points[~person()[row, column]]


def scene(intruder: float = 0.5) -> tuple[Rendering, torch.Tensor]:
    """Rendering and photo: faint noise between them, and `intruder` where somebody stands."""
    random = torch.Generator().manual_seed(3)
    photo = 0.4 + 0.02 * torch.randn(*SIZE, 3, generator=random)
    colour = torch.full((*SIZE, 3), 0.4) + intruder * person()[..., None]
    return Rendering(colour, torch.ones(SIZE), torch.ones(SIZE)), photo


def taught(mask: TransientMask, name: str = "a.jpg") -> torch.Tensor:
    """The weights at the end of a fit in which photo `name` stays as it is."""
    optimiser, valid = mask.optimiser(), torch.ones(SIZE, dtype=torch.bool)
    weight = torch.empty(0)
    for step in range(STEPS):
        weight, penalty = mask.pixel_weights(name, view(), *scene(), valid, step, progress=step / STEPS)
        if optimiser is not None:
            optimiser.zero_grad()
            penalty.backward()
            optimiser.step()
    return weight


@pytest.fixture(params=OPTIONS)
def option(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def mask(option: str) -> TransientMask:
    return make(option)


def test_is_a_transient_mask(mask: TransientMask):
    assert isinstance(mask, TransientMask)
    assert isinstance(mask, torch.nn.Module)


@pytest.mark.parametrize("progress", [0.0, 0.9])
def test_weights_have_the_views_shape_and_are_zero_where_not_valid(mask: TransientMask, progress: float):
    valid = torch.ones(SIZE, dtype=torch.bool)
    valid[:, 50:] = False
    weight, penalty = mask.pixel_weights("a.jpg", view(), *scene(), valid, 0, progress)
    assert weight.shape == SIZE
    assert penalty.shape == ()
    assert weight.min() >= 0
    assert not weight.requires_grad
    assert weight[:, 50:].eq(0).all()
    shown = mask.mask("a.jpg", view(), *scene(), valid)
    assert shown.shape == SIZE
    assert 0 <= shown.min() <= shown.max() <= 1
    assert shown[:, 50:].eq(0).all()


def test_without_transients_all_weights_are_one(mask: TransientMask):
    """A photo that was never fitted has no mask of its own, and noise is no reason for one."""
    valid = torch.rand(SIZE, generator=torch.Generator().manual_seed(1)) < 0.7
    weight, penalty = mask.pixel_weights("unseen.jpg", view(), *scene(0.0), valid, 9000, 0.9)
    torch.testing.assert_close(weight, valid / valid.float().mean())
    assert penalty == 0


def test_a_photo_without_valid_pixels_has_no_weight(mask: TransientMask):
    nothing = torch.zeros(SIZE, dtype=torch.bool)
    weight, penalty = mask.pixel_weights("a.jpg", view(), *scene(), nothing, 9000, 0.9)
    assert weight.eq(0).all()
    assert torch.isfinite(penalty)


def test_a_passer_by_is_masked(option: str, mask: TransientMask):
    weight = taught(mask)
    inner = torch.zeros(SIZE, dtype=torch.bool)
    inner[24:40, 15:23] = True
    assert weight[~person()].mean() > 0.8
    if option == "none":
        assert weight.eq(1).all()
    else:
        assert weight[inner].mean() < 0.35 * weight[~person()].mean()
        shown = mask.mask("a.jpg", view(), *scene(), torch.ones(SIZE, dtype=torch.bool))
        assert shown[inner].mean() > 0.65 > 0.2 > shown[~person()].mean()


def test_the_fitted_state_is_in_the_state_dict(option: str, mask: TransientMask):
    weight = taught(mask)
    twin = make(option)
    twin.load_state_dict(mask.state_dict())
    valid = torch.ones(SIZE, dtype=torch.bool)
    found, _ = twin.pixel_weights("a.jpg", view(), *scene(), valid, 9000, 0.99)
    expected, _ = mask.pixel_weights("a.jpg", view(), *scene(), valid, 9000, 0.99)
    assert torch.equal(found, expected)
    assert weight.shape == SIZE


def test_it_starts_from_the_seed_alone(option: str):
    torch.manual_seed(5)
    first = make(option).state_dict()
    torch.manual_seed(6)
    second = make(option).state_dict()
    assert all(torch.equal(second[key], value) for key, value in first.items())


def test_the_masks_learning_rate_is_pytorchs_cosine_stepped_once_an_epoch():
    mask = build({**OmegaConf.to_container(OmegaConf.load(GROUP / "network.yaml")), "width": 8, "epochs": 5})
    mask.initialise({name: matched() for name in NAMES}, seed=0)
    optimiser = mask.optimiser()
    reference = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(reference, T_max=5, eta_min=1e-8)
    for step in range(35):
        mask.pixel_weights("a.jpg", view(), *scene(), torch.ones(SIZE, dtype=torch.bool), step, progress=step / 35)
        assert optimiser.param_groups[0]["lr"] == pytest.approx(schedule.get_last_lr()[0], rel=1e-6), step
        reference.step()
        if step % 7 == 6:
            schedule.step()
