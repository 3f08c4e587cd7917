"""The rasteriser against closed forms, its adjoint, and the compiled engine against the reference."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numba
import numpy as np
import pytest
import torch
from torch import Tensor

from halonerf.errors import BadInput
from halonerf.rotations import matrices, product, quaternions
from halonerf.splatting.compiled import cache_folder
from halonerf.splatting.compositing import fall_off
from halonerf.splatting.constants import ALPHA_MAX, BLUR
from halonerf.splatting.lanes import LANES, load, store
from halonerf.splatting.rasterise import ENGINES, lift, rasterise
from halonerf.types import View


def camera(width: int = 33, height: int = 21) -> View:
    """At z = -2, looking along +z, its axis off the middle of the picture."""
    pose = torch.eye(3, 4)
    pose[2, 3] = -2.0
    return View(width, height, 30.0, 31.0, width / 2 + 1.3, height / 2 - 0.7, pose)


def cloud(number: int, channels: int, seed: int = 0) -> list[Tensor]:
    """Means, scales, rotations, opacities, features: some off the picture, some behind the camera, some opaque."""
    random = torch.Generator().manual_seed(seed)
    means = torch.randn(number, 3, generator=random) * torch.tensor([1.0, 0.7, 1.5])
    scales = 0.1 * torch.exp(0.5 * torch.randn(number, 3, generator=random))
    rotations = torch.randn(number, 4, generator=random)
    opacities = (1.1 * torch.rand(number, generator=random)).clamp(max=1.0)
    return [means, scales, rotations, opacities, torch.rand(number, channels, generator=random)]


def one(opacity: float, depth: float = 2.0, scale: float = 0.2, colour: float = 1.0) -> list[Tensor]:
    """A ball on the axis of a camera at the origin."""
    return [
        torch.tensor([[0.0, 0.0, depth]]), torch.full((1, 3), scale), torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
        torch.tensor([opacity]), torch.tensor([[colour]]),
    ]  # fmt: skip


FRONTAL = View(9, 9, 20.0, 20.0, 4.5, 4.5, torch.eye(3, 4))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_ball_on_the_axis_is_a_blurred_gaussian(engine: str):
    shown = rasterise(*one(0.8), FRONTAL, engine=engine)
    variance = (20.0 * 0.2 / 2.0) ** 2 + BLUR
    steps = torch.arange(9) - 4.0
    expected = 0.8 * torch.exp(-(steps[:, None] ** 2 + steps[None] ** 2) / (2 * variance))
    torch.testing.assert_close(shown.opacity, expected, atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(shown.depth, 2.0 * expected, atol=4e-6, rtol=1e-5)
    torch.testing.assert_close(shown.features[..., 0], expected, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_splats_are_composited_front_to_back(engine: str):
    both = [torch.cat(pair) for pair in zip(one(0.6, 3.0, 0.9, 1.0), one(0.5, 2.0, 0.9, 0.0), strict=True)]
    middle = rasterise(*both, FRONTAL, engine=engine)
    assert middle.features[4, 4, 0].item() == pytest.approx(0.5 * 0.6, abs=1e-5)
    assert middle.opacity[4, 4].item() == pytest.approx(1 - 0.5 * 0.4, abs=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_alpha_is_below_one(engine: str):
    shown = rasterise(*one(1.0, scale=2.0), FRONTAL, engine=engine)
    assert shown.opacity[4, 4].item() == pytest.approx(ALPHA_MAX, abs=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("depth", [-2.0, 0.0, 0.005])
def test_what_is_behind_or_in_the_camera_is_not_drawn(engine: str, depth: float):
    values = [t.requires_grad_() for t in one(0.9, depth)]
    shown = rasterise(*values, FRONTAL, engine=engine)
    assert not shown.opacity.any()
    shown.features.sum().backward()
    assert all(not t.grad.any() for t in values)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_empty_scene_is_empty(engine: str):
    shown = rasterise(*cloud(0, 4), camera(), engine=engine)
    assert shown.features.shape == (21, 33, 4)
    assert not shown.features.any()
    assert not shown.opacity.any()
    assert lift(*cloud(0, 4)[:4], torch.ones(21, 33, 2), camera(), engine=engine).shape == (0, 2)


@pytest.mark.parametrize(("width", "height"), [(33, 21), (16, 16), (1, 1), (70, 5)])
@pytest.mark.parametrize("channels", [0, 1, 3, 40])
def test_engines_agree_in_values_and_gradients(width: int, height: int, channels: int):
    results = {}
    for engine in ENGINES:
        values = [t.requires_grad_() for t in cloud(200, channels)]
        offsets = torch.zeros(200, 2, requires_grad=True)
        shown = rasterise(*values, camera(width, height), offsets, engine)
        image = torch.cat([shown.features, shown.depth[..., None], shown.opacity[..., None]], dim=-1)
        weight = torch.randn(image.shape, generator=torch.Generator().manual_seed(1))
        (image * weight).sum().backward()
        results[engine] = [image.detach(), *(t.grad for t in (*values, offsets))]
    names = ("image", "means", "scales", "rotations", "opacities", "features", "offsets")
    for name, fast, plain in zip(names, *(results[e] for e in ENGINES), strict=True):
        if plain.numel():
            # Largest measured: 3e-6 of the largest entry, from the order of sums and an exponential exact to 2e-6.
            tolerance = 2e-5 * max(1.0, plain.abs().max().item())
            torch.testing.assert_close(fast, plain, atol=tolerance, rtol=0, msg=lambda m, name=name: f"{name}: {m}")


def thin(kind: str, ratio: float, place: str) -> list[Tensor]:
    """Needles or discs whose axes are 3 and 3 / ratio world units, in any direction: some 120 px long in `WIDE`."""
    random = torch.Generator().manual_seed(7)
    scales = torch.full((12, 3), 3.0 / ratio)
    scales[:, : {"needle": 1, "disc": 2}[kind]] = 3.0
    means = torch.randn(12, 3, generator=random) * torch.tensor([0.5, 0.4, 0.3])
    if place == "near":  # 0.02 to 0.07 from a camera at z = -2 that draws from 0.01 on
        means = means * torch.tensor([0.02, 0.02, 0.0])
        means[:, 2] = 0.02 + 0.05 * torch.rand(12, generator=random) - 2
    if place == "edge":
        means[:, 0] = 1.2 + 0.2 * torch.rand(12, generator=random)
    opacities = 0.2 + 0.5 * torch.rand(12, generator=random)
    return [means, scales, torch.randn(12, 4, generator=random), opacities, torch.rand(12, 3, generator=random)]


TOLERANCE = 2e-4  # of single precision; measured 3e-5 at most
WIDE = replace(camera(96, 64), fx=80.0, fy=82.0)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("place", ["middle", "near", "edge"])
@pytest.mark.parametrize("ratio", [1e3, 3e3, 1e5])
@pytest.mark.parametrize("kind", ["needle", "disc"])
def test_long_and_thin_gaussians_keep_their_precision(kind: str, ratio: float, place: str, engine: str):
    """Images and gradients in single precision against those in double precision by autograd."""
    results = []
    for precision, used in ((torch.float64, "reference"), (torch.float32, engine)):
        values = [t.to(precision, copy=True).requires_grad_() for t in thin(kind, ratio, place)]
        shown = rasterise(*values, WIDE, engine=used)
        image = torch.cat([shown.features, shown.depth[..., None], shown.opacity[..., None]], dim=-1)
        weight = torch.randn(image.shape, generator=torch.Generator().manual_seed(1))
        gradients = torch.autograd.grad((image * weight).sum(), values)
        results.append([t.double() for t in (image.detach(), *gradients)])
    names = ("image", "means", "scales", "rotations", "opacities", "features")
    for name, exact, found in zip(names, *results, strict=True):
        assert (found - exact).norm() < TOLERANCE * exact.norm(), name


def test_the_plain_engine_has_the_gradients_of_finite_differences():
    values = [t.double() for t in cloud(5, 2, seed=3)]
    values[0][:, 2] = torch.linspace(0.0, 1.0, 5)  # in front, in a fixed order
    values[1] = values[1] + 0.6  # rims outside the picture, where the cut at 1/255 would be a step
    values[3] = 0.3 + 0.4 * values[3]
    view = camera(5, 4)

    def draw(*given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        shown = rasterise(*given, view, engine="reference")
        return shown.features, shown.depth, shown.opacity

    assert torch.autograd.gradcheck(draw, [t.requires_grad_() for t in values], eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("channels", [1, 6, 70])
def test_lifting_is_the_adjoint_of_rendering(engine: str, channels: int):
    *shapes, features = cloud(150, channels)
    maps = torch.randn(21, 33, channels, generator=torch.Generator().manual_seed(2))
    rendered = (rasterise(*shapes, features, camera(), engine=engine).features * maps).sum()
    lifted = (features * lift(*shapes, maps, camera(), engine=engine)).sum()
    assert rendered.item() == pytest.approx(lifted.item(), rel=1e-4)  # float32 sums of thousands of terms


def test_the_gradient_of_features_alone_equals_the_full_one():
    *shapes, features = cloud(150, 3)
    view, weight = camera(), torch.randn(21, 33, 3, generator=torch.Generator().manual_seed(2))
    alone = features.clone().requires_grad_()
    (rasterise(*shapes, alone, view).features * weight).sum().backward()
    every = [t.clone().requires_grad_() for t in (*shapes, features)]
    (rasterise(*every, view).features * weight).sum().backward()
    torch.testing.assert_close(alone.grad, every[-1].grad, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_pixels_weights_sum_to_its_opacity(engine: str):
    shapes = cloud(300, 0)[:4]
    shown = rasterise(*shapes, torch.ones(300, 1), camera(), engine=engine)
    torch.testing.assert_close(shown.features[..., 0], shown.opacity, atol=2e-6, rtol=0)
    assert 0 <= shown.opacity.min() <= shown.opacity.max() <= 1


def test_threads_do_not_change_a_bit():
    values = [t.requires_grad_() for t in cloud(300, 3)]
    results = []
    before = numba.get_num_threads()
    for threads in (1, before):
        numba.set_num_threads(threads)
        shown = rasterise(*values, camera())
        gradients = torch.autograd.grad((shown.features**2).sum() + shown.depth.sum(), values)
        results.append([shown.features.detach(), *gradients])
    numba.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_nan_features_stay_nan():
    *shapes, features = cloud(100, 3)
    assert torch.isnan(rasterise(*shapes, torch.full_like(features, math.nan), camera()).features).any()


@numba.njit
def exponentials(q):
    """fall_off of every entry; their number is a multiple of `LANES`."""
    out = np.empty_like(q)
    for place in range(0, q.shape[0], LANES):
        store(out, place, fall_off(load(q, place)))
    return out


def test_the_exponential_is_exact_to_two_millionths():
    q = np.linspace(0.0, 5.6, 20000, dtype=np.float32)
    values = exponentials(q).astype(np.float64)
    assert np.abs(values / np.exp(-q.astype(np.float64)) - 1).max() < 2.5e-6


def test_an_unknown_engine_is_named():
    with pytest.raises(ValueError, match="numba, reference, got 'abacus'"):
        rasterise(*cloud(1, 1), camera(), engine="abacus")


def test_machine_code_is_cached_where_it_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert cache_folder(str(tmp_path / "chosen")).is_relative_to(tmp_path / "chosen")
    (tmp_path / "file").write_text("no folder can be below this")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    fallback = cache_folder()
    assert fallback.is_dir()
    assert not fallback.is_relative_to(tmp_path / "file")


GRADIENTS_OF_BALLS = """
import hashlib
import torch
from halonerf.splatting.rasterise import rasterise
from halonerf.types import View

random = torch.Generator().manual_seed(0)
means = torch.randn(2000, 3, generator=random) * torch.tensor([1.0, 0.7, 0.5]) + torch.tensor([0.0, 0.0, 3.0])
scales = torch.full((2000, 3), 0.05)  # balls: their gradients by rotation are rounding errors alone
rotations = torch.randn(2000, 4, generator=random)
values = [means, scales, rotations, torch.rand(2000, generator=random), torch.rand(2000, 3, generator=random)]
values = [value.requires_grad_() for value in values]
shown = rasterise(*values, View(160, 120, 120.0, 120.0, 80.0, 60.0, torch.eye(3, 4)), engine="numba")
(shown.features * torch.rand(120, 160, 3, generator=random)).sum().backward()
print([hashlib.sha256(value.grad.numpy().tobytes()).hexdigest() for value in values])
"""


def test_the_process_that_compiles_rounds_as_those_that_load_the_cached_code(tmp_path: Path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_NUM_THREADS": "1"}
    runs = [
        subprocess.run(
            [sys.executable, "-c", GRADIENTS_OF_BALLS], env=environment, capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1]


@pytest.mark.parametrize("corner", [(0, 0), (16, 16), (7, 5)])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_part_of_a_view_is_that_part_of_its_image(engine: str, corner: tuple[int, int]):
    values, view = cloud(60, 3), camera(49, 37)
    whole = rasterise(*values, view, engine=engine)
    left, top = corner
    part = rasterise(*values, view.cropped(left, top, 20, 18), engine=engine)
    rows, columns = slice(top, top + 18), slice(left, left + 20)
    # A rim may fall on the other side of a pixel's centre by one rounding of its coordinates: weights of 1/255 there.
    assert (part.features - whole.features[rows, columns]).abs().max() < 0.005
    assert (part.features - whole.features[rows, columns]).abs().mean() < 1e-5


@pytest.mark.parametrize("turn", [0.0, 1.0, 3.1])
def test_a_quaternion_rotates_as_its_matrix(turn: float):
    axis = torch.nn.functional.normalize(torch.tensor([0.3, -0.7, 0.5]), dim=0)
    matrix = matrices(torch.cat([torch.tensor([math.cos(turn / 2)]), axis * math.sin(turn / 2)])[None])[0]
    torch.testing.assert_close(matrices(quaternions(matrix[None]))[0], matrix, atol=1e-6, rtol=0)
    others = cloud(5, 0)[2]
    found = matrices(product(quaternions(matrix[None]), others))
    torch.testing.assert_close(found, matrix @ matrices(others), atol=1e-5, rtol=0)


def test_the_camera_has_the_gradient_of_finite_differences():
    values = [t.double() for t in cloud(5, 2, seed=3)]
    values[0][:, 2] = torch.linspace(0.0, 1.0, 5)
    values[1] = values[1] + 0.6  # as above
    values[3] = 0.3 + 0.4 * values[3]
    view = camera(5, 4)

    def draw(change: Tensor) -> Tensor:
        turn = torch.linalg.matrix_exp(torch.linalg.cross(torch.eye(3).double(), change[:3].expand(3, 3)))
        pose = view.camera_to_world.double()
        moved = torch.cat([turn @ pose[:, :3], pose[:, 3:] + change[3:, None]], dim=1)
        shown = rasterise(*values, replace(view, camera_to_world=moved), engine="reference")
        return torch.cat([shown.features.flatten(), shown.depth.flatten()])

    change = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(draw, [change], eps=1e-6, atol=1e-5)


def test_both_engines_have_the_same_gradient_for_the_camera():
    values, view = cloud(40, 3), camera()
    gradients = []
    for engine, kind in (("numba", torch.float32), ("reference", torch.float64)):
        pose = view.camera_to_world.to(kind).requires_grad_()
        shown = rasterise(*(t.to(kind) for t in values), replace(view, camera_to_world=pose), engine=engine)
        weight = torch.linspace(0, 1, shown.features.numel(), dtype=kind).reshape(shown.features.shape)
        gradients.append(torch.autograd.grad((weight * shown.features).sum(), pose)[0].double())
    torch.testing.assert_close(*gradients, atol=1e-4 * gradients[1].abs().max().item(), rtol=0)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize(("place", "name"), enumerate(("means", "scales", "rotations", "opacities")))
@pytest.mark.parametrize("engine", ENGINES)
def test_gaussians_that_are_not_finite_are_reported(engine: str, place: int, name: str, value: float):
    values = cloud(50, 3)
    values[place][[3, 20, 41]] = value
    expected = rf"NaN or infinity in 3 of 50 {name}\.(.|\n)*field\.learning_rates"
    with pytest.raises(BadInput, match=expected):
        rasterise(*values, camera(), engine=engine)
    with pytest.raises(BadInput, match=expected):
        lift(*values[:4], torch.ones(21, 33, 1), camera(), engine=engine)


def test_rotations_of_length_zero_are_reported():
    values = cloud(50, 3)
    values[2][[0, 7]] = 0
    values[0][5, 1] = math.nan
    with pytest.raises(BadInput, match="in 1 of 50 means and 2 of 50 rotations of length zero"):
        rasterise(*values, camera())


@pytest.mark.parametrize("engine", ENGINES)
def test_gaussians_larger_than_any_image_are_drawn(engine: str):
    """Scales up to 1e12 world units: what covers the image is opaque in it, and nothing overflows."""
    for scale in (1e4, 1e8, 1e12):
        values = [t.double() if engine == "reference" else t for t in one(0.8, scale=scale)]
        shown = rasterise(*values, FRONTAL, engine=engine)
        torch.testing.assert_close(shown.opacity.float(), torch.full((9, 9), 0.8), atol=1e-5, rtol=0)
