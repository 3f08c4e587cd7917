"""The gsplat engine, for CUDA devices: gsplat's projection, tiles and compositing (Ye et al., gsplat, 2024).

This engine has not been run on a GPU yet: tests compare it with the reference by a stand-in for gsplat on a CPU, and
with gsplat itself where there is a device. Gaussians that are not finite are reported before any engine is asked
(`halonerf.splatting.rasterise.check_finite`). Long and thin ones have the precision of gsplat's inverse covariance in
single precision, not that of the other engines.

Projection and compositing are called separately, and the centres are shifted in between: by the offsets, whose
gradient is the screen-space gradient, and by the position of the view in its whole image. gsplat limits how far off
the axis a Gaussian is projected by the size of the image; it is given the whole image's size, so that a part of it is
rendered like the whole. (The size is rounded up to whole pixels, which moves the limits, 15 % of the image beyond its
edges, by less than a pixel.)
"""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor

from halonerf.errors import BadInput, MissingExtra
from halonerf.splatting.constants import BLUR, NEAR
from halonerf.types import View

TILE = 16  # px; the only size that gsplat tests
MAX_CHANNELS = 32  # composited at once; gsplat keeps them in registers and is slower with more


@dataclass(frozen=True)
class ProjectedSplats:
    """Gaussians projected to one view and listed by tile; every tensor has a leading axis of one camera."""

    centres: Tensor  # [1, N, 2], px of the view
    conics: Tensor  # [1, N, 3]: a, b, c of the inverse covariance [[a, b], [b, c]]
    opacities: Tensor  # [1, N]
    depths: Tensor  # [1, N], along the optical axis; undefined where nothing is drawn
    starts: Tensor  # [1, rows, columns], where each tile's list begins
    listed: Tensor  # [K], Gaussians tile by tile, nearest first


def rasterise(means, scales, rotations, opacities, features, offsets, view: View) -> Tensor:
    """Composited features, depth and opacity side by side, [H, W, C + 2]; arguments as of `rasterise.rasterise`.

    Raises: MissingExtra without gsplat, BadInput where its kernels cannot be compiled.
    """
    if not len(means):
        return means.new_zeros(view.height, view.width, features.shape[1] + 2)
    gsplat = load()
    splats = project(gsplat, means, scales, rotations, opacities, offsets, view)
    values = torch.cat([features.float(), splats.depths[0, :, None]], dim=1)
    image, opacity = composite(gsplat, splats, values, view)
    return torch.cat([image, opacity[..., None]], dim=-1)


def lift(means, scales, rotations, opacities, maps: Tensor, view: View) -> Tensor:
    """The adjoint of `rasterise` in its features, [N, C]; maps: [H, W, C]. Raises: as `rasterise`."""
    if not len(means) or not maps.shape[-1]:
        return means.new_zeros(len(means), maps.shape[-1])
    gsplat = load()
    offsets = means.new_zeros(len(means), 2)
    splats = project(gsplat, means, scales, rotations, opacities, offsets, view)
    sums = []
    for part in maps.to(means.device, torch.float32).split(MAX_CHANNELS, dim=-1):
        with torch.enable_grad():
            zeros = torch.zeros(len(means), part.shape[-1], device=means.device, requires_grad=True)
            image, _ = composite(gsplat, splats, zeros, view)
        sums.append(torch.autograd.grad(image, zeros, part)[0])
    return torch.cat(sums, dim=1)


def load() -> ModuleType:
    """Import gsplat with its kernels; the first import compiles them, in some minutes, unless a wheel has them.

    Raises: MissingExtra without gsplat; BadInput without kernels and without a compiler for them.
    """
    try:
        import gsplat
    except ImportError as error:
        raise MissingExtra("gsplat", "cuda") from error
    from torch.utils import cpp_extension

    if importlib.util.find_spec("gsplat.csrc") is None and cpp_extension.CUDA_HOME is None:
        raise BadInput(
            "expected gsplat's kernels, or the CUDA toolkit (nvcc) to compile them with; found neither.\n"
            f"Install CUDA toolkit {torch.version.cuda or '(the version that torch was built for)'} and set CUDA_HOME "
            "to its folder, or fit on the processor with: trainer.accelerator=cpu"
        )
    return gsplat


def project(gsplat: ModuleType, means, scales, rotations, opacities, offsets, view: View) -> ProjectedSplats:
    """Project Gaussians to the view and list them by tile; differentiable, also in the offsets [N, 2], px."""
    left, top, right, bottom = view.bounds
    shift = torch.tensor([left, top], device=means.device)
    lens = torch.tensor(
        [[view.fx, 0.0, view.cx - left], [0.0, view.fy, view.cy - top], [0.0, 0.0, 1.0]], device=means.device
    )
    last = torch.tensor([[0.0, 0.0, 0.0, 1.0]], device=means.device)
    pose = torch.cat([view.world_to_camera.to(last), last])
    radii, centres, depths, conics, _ = gsplat.fully_fused_projection(
        means.float(),
        None,  # covariances, which rotations and scales give
        rotations.float(),
        scales.float(),
        pose[None],
        lens[None],
        math.ceil(right - left),
        math.ceil(bottom - top),
        eps2d=BLUR,
        near_plane=NEAR,
        packed=False,
        opacities=opacities.detach().float(),  # only bounds the splats, which end at an alpha of 1/255
    )
    centres = centres + offsets.float() + shift
    rows, columns = -(-view.height // TILE), -(-view.width // TILE)
    _, pairs, listed = gsplat.isect_tiles(centres, radii, depths, TILE, columns, rows, packed=False)
    starts = gsplat.isect_offset_encode(pairs, 1, columns, rows).reshape(1, rows, columns)
    return ProjectedSplats(centres, conics, opacities.float()[None], depths, starts, listed)


def composite(gsplat: ModuleType, splats: ProjectedSplats, values: Tensor, view: View) -> tuple[Tensor, Tensor]:
    """Composited values [H, W, C] and opacity [H, W]; values: [N, C], C > 0."""
    images, opacity = [], None
    for part in values.split(MAX_CHANNELS, dim=1):
        image, covered = gsplat.rasterize_to_pixels(
            splats.centres,
            splats.conics,
            part[None].contiguous(),
            splats.opacities,
            view.width,
            view.height,
            TILE,
            splats.starts,
            splats.listed,
            packed=False,
        )
        images.append(image[0])
        opacity = covered[0, ..., 0] if opacity is None else opacity
    assert opacity is not None
    return torch.cat(images, dim=-1), opacity
