"""The gsplat engine against the reference: with gsplat on a GPU; without one, with a stand-in that checks its calls."""

from __future__ import annotations

import importlib.util
import math
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.utils import cpp_extension

from halonerf.errors import BadInput, MissingExtra
from halonerf.splatting import gpu, reference
from halonerf.splatting.constants import ALPHA_MAX, ALPHA_MIN, BLUR, NEAR
from halonerf.splatting.rasterise import lift, rasterise, resolve_engine
from halonerf.types import View

NAMES = ("image", "means", "scales", "rotations", "opacities", "features", "offsets")
needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available() or importlib.util.find_spec("gsplat") is None,
    reason="needs a CUDA device and pip install 'halonerf[cuda]'",
)


def camera(width: int = 45, height: int = 37) -> View:
    """At z = -2, looking along +z, its axis off the middle of the picture."""
    pose = torch.eye(3, 4)
    pose[2, 3] = -2.0
    return View(width, height, 30.0, 31.0, width / 2 + 1.3, height / 2 - 0.7, pose)


def cloud(channels: int, most: float, number: int = 120) -> list[Tensor]:
    """Means, scales, rotations, opacities up to `most`, features: some off the picture, some behind the camera."""
    random = torch.Generator().manual_seed(4)
    means = torch.randn(number, 3, generator=random) * torch.tensor([1.5, 1.2, 1.0])
    scales = 0.1 * torch.exp(0.5 * torch.randn(number, 3, generator=random))
    rotations = torch.randn(number, 4, generator=random)
    opacities = most * torch.rand(number, generator=random)
    return [means, scales, rotations, opacities, torch.rand(number, channels, generator=random)]


def stand_in() -> ModuleType:
    """The four functions of gsplat 1.5 that are used, dense and in torch; what is not drawn is undefined, as there."""

    def fully_fused_projection(means, covars, quats, scales, viewmats, Ks, width, height, **options):
        assert covars is None
        assert options.pop("opacities").shape == (len(means),)
        assert options == {"eps2d": BLUR, "near_plane": NEAR, "packed": False}
        assert viewmats.shape == (1, 4, 4)
        assert viewmats[0, 3].tolist() == [0, 0, 0, 1]
        assert Ks[0, 2].tolist() == [0, 0, 1]
        assert isinstance(width, int)
        assert isinstance(height, int)
        (fx, _, cx), (_, fy, cy), _ = Ks[0].tolist()
        pose = torch.linalg.inv(viewmats[0])[:3]
        centres, covariances, depths = reference.project(
            means, scales, quats, View(width, height, fx, fy, cx, cy, pose)
        )
        radii = 3.33 * torch.diagonal(covariances, dim1=1, dim2=2).detach().sqrt()
        size = torch.tensor([width, height])
        drawn = (depths > NEAR) & (centres + radii > 0).all(dim=1) & (centres - radii < size).all(dim=1)
        a, b, _, c = torch.linalg.inv(covariances).flatten(1).unbind(1)
        known = [
            torch.where(drawn[:, None], t, math.nan) for t in (centres, torch.stack([a, b, c], 1), depths[:, None])
        ]
        radii = torch.where(drawn[:, None], radii.ceil(), 0).int()
        return radii[None], known[0][None], known[2][None, :, 0], known[1][None], None

    def isect_tiles(means2d, radii, depths, tile_size, tile_width, tile_height, packed):
        assert radii.dtype == torch.int32
        assert not packed
        drawn = torch.nonzero((radii[0] > 0).all(dim=1))[:, 0]
        order = drawn[torch.argsort(depths[0, drawn], stable=True)]
        return torch.ones_like(order), torch.arange(len(order)), order.int()

    def isect_offset_encode(isect_ids, n_images, tile_width, tile_height):
        return torch.zeros(n_images * tile_height * tile_width, dtype=torch.int32)

    def rasterize_to_pixels(means2d, conics, colors, opacities, width, height, tile_size, starts, listed, packed):
        assert starts.shape == (1, math.ceil(height / tile_size), math.ceil(width / tile_size))
        assert means2d.shape[:2] == conics.shape[:2] == colors.shape[:2] == opacities.shape
        assert 0 < colors.shape[2] <= 32
        assert not packed
        grid = torch.meshgrid(torch.arange(width) + 0.5, torch.arange(height) + 0.5, indexing="xy")
        image, light = torch.zeros(height, width, colors.shape[2]), torch.ones(height, width)
        for i in listed.tolist():
            dx, dy = (g - c for g, c in zip(grid, means2d[0, i], strict=True))
            a, b, c = conics[0, i]
            alpha = (opacities[0, i] * torch.exp(-0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy)).clamp(max=ALPHA_MAX)
            alpha = torch.where(alpha < ALPHA_MIN, 0, alpha)
            image = image + (light * alpha)[..., None] * colors[0, i]
            light = light * (1 - alpha)
        return image[None], (1 - light)[None, ..., None]

    module = ModuleType("gsplat")
    module.__path__ = []  # a package without compiled kernels
    for function in (fully_fused_projection, isect_tiles, isect_offset_encode, rasterize_to_pixels):
        setattr(module, function.__name__, function)
    return module


@pytest.fixture
def with_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gsplat", stand_in())
    monkeypatch.setattr(cpp_extension, "CUDA_HOME", "/a/toolkit")


def learn(draw, values: list[Tensor], view: View, weight: Tensor) -> list[Tensor]:
    """The picture, and the gradients of its weighted sum, in the order of NAMES."""
    leaves = [t.detach().clone().requires_grad_() for t in (*values, values[0].new_zeros(len(values[0]), 2))]
    image = draw(*leaves, view)
    (image * weight.to(image)).sum().backward()
    return [t.cpu() for t in (image.detach(), *(leaf.grad for leaf in leaves))]


def compare(seen: list[Tensor], expected: list[Tensor], relative: float) -> None:
    for name, one, other in zip(NAMES, seen, expected, strict=True):
        if other.numel():
            tolerance = relative * max(1.0, other.abs().max().item())
            torch.testing.assert_close(one, other, atol=tolerance, rtol=0, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.usefixtures("with_stand_in")
@pytest.mark.parametrize("channels", [0, 3, 40])
def test_values_and_gradients_are_those_of_the_reference(channels: int):
    view, values = camera(), cloud(channels, most=0.3)  # faint: no pixel runs out of light
    weight = torch.randn(view.height, view.width, channels + 2, generator=torch.Generator().manual_seed(1))
    expected = learn(reference.rasterise, values, view, weight)
    # Largest measured: 4e-6 of the largest entry, the two inverses of a covariance in float32.
    compare(learn(gpu.rasterise, values, view, weight), expected, relative=4e-5)


@pytest.mark.usefixtures("with_stand_in")
def test_a_part_of_a_view_is_that_part_of_its_image():
    """Limits of the projection are those of the whole picture: wide Gaussians beyond a part's edges look the same."""
    view, values = camera(), cloud(2, most=0.3)
    values[1] = values[1] * 4
    still = torch.zeros(len(values[0]), 2)
    whole = reference.rasterise(*values, still, view)
    part = gpu.rasterise(*values, still, view.cropped(30, 5, 12, 20))
    torch.testing.assert_close(part, whole[5:25, 30:42], atol=2e-5, rtol=0)


@pytest.mark.usefixtures("with_stand_in")
def test_lifting_is_that_of_the_reference():
    view, (*shapes, _) = camera(), cloud(1, most=0.3)
    maps = torch.randn(view.height, view.width, 70, generator=torch.Generator().manual_seed(2))
    expected = lift(*shapes, maps, view, engine="reference")
    torch.testing.assert_close(gpu.lift(*shapes, maps, view), expected, atol=1e-4, rtol=0)
    assert gpu.lift(*shapes, maps[..., :0], view).shape == (len(shapes[0]), 0)


@pytest.mark.usefixtures("with_stand_in")
def test_no_gaussians_give_zeros():
    empty = [t[:0] for t in cloud(3, most=0.3)]
    assert not gpu.rasterise(*empty, torch.zeros(0, 2), camera()).any()
    assert gpu.lift(*empty[:4], torch.ones(37, 45, 2), camera()).shape == (0, 2)


def test_the_device_chooses_the_engine():
    assert resolve_engine(None, torch.zeros(1)) == "numba"
    assert resolve_engine(None, SimpleNamespace(is_cuda=True)) == "gsplat"
    assert resolve_engine("numba", SimpleNamespace(is_cuda=True)) == "numba"
    with pytest.raises(ValueError, match=r"CUDA device.*'gsplat', got them on 'cpu'"):
        rasterise(*cloud(1, 0.3), camera(), engine="gsplat")


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "gsplat", None)
    with pytest.raises(MissingExtra, match=r"'gsplat'[\s\S]*pip install 'halonerf\[cuda\]'"):
        gpu.rasterise(*cloud(1, 0.3), torch.zeros(120, 2), camera())


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "gsplat", stand_in())
    monkeypatch.setattr(cpp_extension, "CUDA_HOME", None)
    with pytest.raises(BadInput, match=r"nvcc[\s\S]*CUDA_HOME[\s\S]*trainer\.accelerator=cpu"):
        gpu.rasterise(*cloud(1, 0.3), torch.zeros(120, 2), camera())


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("channels", [0, 3, 40])
@pytest.mark.parametrize("part", [None, (30, 5, 12, 20)])
def test_gsplat_draws_and_learns_like_the_reference(channels: int, part: tuple[int, int, int, int] | None):
    view, values = camera(), cloud(channels, most=1.0, number=200)
    view = view if part is None else view.cropped(*part)
    weight = torch.randn(view.height, view.width, channels + 2, generator=torch.Generator().manual_seed(1))
    expected = learn(reference.rasterise, values, view, weight)
    # Expected from gsplat's fast exponential and atomic sums; measure it, and write the figure here, on a GPU.
    compare(learn(gpu.rasterise, [t.cuda() for t in values], view, weight), expected, relative=2e-4)


@pytest.mark.gpu
@needs_gpu
def test_gsplat_lifts_like_the_reference():
    view, (*shapes, _) = camera(), cloud(1, most=1.0, number=200)
    maps = torch.randn(view.height, view.width, 70, generator=torch.Generator().manual_seed(2))
    expected = lift(*shapes, maps, view, engine="reference")
    seen = lift(*(t.cuda() for t in shapes), maps.cuda(), view.to("cuda"))
    torch.testing.assert_close(seen.cpu(), expected, atol=2e-4 * expected.abs().max().item(), rtol=0)
