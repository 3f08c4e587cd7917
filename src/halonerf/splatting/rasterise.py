"""The differentiable rasteriser: composited features, depth and opacity of 3D Gaussians in a view.

    alpha_i(x) = min(o_i exp(-(x - c_i)^T S_i^-1 (x - c_i) / 2), 0.999),  zero below 1/255
    w_i = alpha_i prod_{j nearer} (1 - alpha_j),                          zero from where the product falls to 1e-4
    image = sum_i w_i f_i,  depth = sum_i w_i z_i,  opacity = sum_i w_i

(Kerbl et al., 3D Gaussian Splatting, 2023, eq. 1-6; S_i is the projected covariance + 0.3 px^2.) All features share
the weights, and `lift` is the adjoint of that linear map.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from halonerf.errors import BadInput
from halonerf.rotations import product, quaternions
from halonerf.splatting import cpu, gpu, reference
from halonerf.types import View

ENGINES = ("numba", "reference")  # for any device; "gsplat" needs CUDA


@dataclass(frozen=True)
class Raster:
    """A rasterised view.

    features: [H, W, C], composited without background. depth: [H, W], world units, weighted sum of depths along the
    optical axis. opacity: [H, W] in [0, 1].
    """

    features: Tensor
    depth: Tensor
    opacity: Tensor


def rasterise(
    means: Tensor,
    scales: Tensor,
    rotations: Tensor,
    opacities: Tensor,
    features: Tensor,
    view: View,
    offsets: Tensor | None = None,
    engine: str | None = None,
) -> Raster:
    """Composite the features of Gaussians in a view; differentiable in every tensor.

    Args:
        means: [N, 3], world units. scales: [N, 3], standard deviations, world units, positive.
        rotations: [N, 4], quaternions wxyz of any non-zero length. opacities: [N], in [0, 1].
        features: [N, C], C >= 0.
        offsets: [N, 2], px, added to the projected centres; the gradient of zeros is the screen-space gradient.
        engine: "numba" (float32, CPU, every core), "gsplat" (float32, CUDA; see `halonerf.splatting.gpu`) or
            "reference" (dense torch, any precision); None takes gsplat for tensors on a CUDA device, else numba.
        view: its pose has a gradient where `camera_to_world` requires one; then the Gaussians are moved into the
            camera's frame.
    Returns: all zero where nothing is drawn.
    Raises: ValueError for an unknown engine; MissingExtra where gsplat is needed and not installed; BadInput where a
        mean, scale, rotation or opacity is not finite or a rotation is zero (features may be NaN, and stay so).
    """
    check_finite(means, scales, rotations, opacities)
    if offsets is None:
        offsets = means.new_zeros(len(means), 2)
    if view.camera_to_world.requires_grad:
        means, rotations, view = into_camera(means, rotations, view)
    engine = resolve_engine(engine, means)
    if engine == "gsplat":
        image = gpu.rasterise(means, scales, rotations, opacities, features, offsets, view)
    elif engine == "numba":
        image = cpu.Rasterise.apply(
            means, scales, rotations, opacities, features, offsets, cpu.pack_camera(view), view.width, view.height
        )
    else:
        image = reference.rasterise(means, scales, rotations, opacities, features, offsets, view)
    return Raster(image[..., :-2], image[..., -2], image[..., -1])


def check_finite(means: Tensor, scales: Tensor, rotations: Tensor, opacities: Tensor) -> None:
    """Check that Gaussians can be drawn; arguments as of `rasterise`.

    Raises: BadInput that names how many Gaussians have NaN or infinity in what, or rotations of length zero.
    """
    with torch.no_grad():
        given = {"means": means, "scales": scales, "rotations": rotations, "opacities": opacities}
        total = torch.stack([values.sum() for values in given.values()])
        lengths = rotations.abs().amax(dim=1)
        if total.isfinite().all() and lengths.all():
            return
        wrong = {
            name: ~values.isfinite().reshape(len(values), -1).all(dim=1)
            for name, values in given.items()
            if len(values)
        }
        found = [
            f"NaN or infinity in {int(rows.sum())} of {len(rows)} {name}" for name, rows in wrong.items() if rows.any()
        ]
        if not lengths.all():
            found.append(f"{int((lengths == 0).sum())} of {len(lengths)} rotations of length zero")
    if found:
        raise BadInput(
            f"expected Gaussians with finite numbers, got {' and '.join(found)}.\n"
            "A fit that diverged leaves such numbers: fit again with lower learning rates, such as "
            "field.learning_rates.means=1e-4 field.learning_rates.log_scales=1e-3"
        )


def into_camera(means: Tensor, rotations: Tensor, view: View) -> tuple[Tensor, Tensor, View]:
    """Means and rotations in the camera's frame, differentiable in its pose, and the view with an identity pose.

    means: [N, 3], world units. rotations: [N, 4], wxyz.
    """
    pose = view.world_to_camera.to(means)
    rotated = product(quaternions(pose[None, :, :3]), rotations)
    identity = torch.eye(3, 4, dtype=means.dtype, device=means.device)
    return means @ pose[:, :3].T + pose[:, 3], rotated, replace(view, camera_to_world=identity)


@torch.no_grad()
def lift(
    means: Tensor,
    scales: Tensor,
    rotations: Tensor,
    opacities: Tensor,
    maps: Tensor,
    view: View,
    engine: str | None = None,
) -> Tensor:
    """Sum over pixels of weight times map for every Gaussian, [N, C]: the adjoint of `rasterise` in its features.

    maps: [H, W, C]. Other arguments and errors as of `rasterise`.
    """
    check_finite(means, scales, rotations, opacities)
    engine = resolve_engine(engine, means)
    if engine == "gsplat":
        return gpu.lift(means, scales, rotations, opacities, maps, view)
    if engine == "numba":
        return cpu.lift(means, scales, rotations, opacities, maps, cpu.pack_camera(view))
    weights, _ = reference.pixel_weights(means, scales, rotations, opacities, means.new_zeros(len(means), 2), view)
    return weights @ maps.reshape(-1, maps.shape[-1]).to(weights)


def resolve_engine(engine: str | None, means: Tensor) -> str:
    """The engine's name; where it is None, gsplat for Gaussians on a CUDA device, else numba.

    Raises: ValueError for an unknown engine, and for gsplat with tensors elsewhere than on a CUDA device.
    """
    if engine is None:
        return "gsplat" if means.is_cuda else "numba"
    if engine == "gsplat" and not means.is_cuda:
        raise ValueError(f"expected tensors on a CUDA device for the engine 'gsplat', got them on '{means.device}'")
    if engine not in ("gsplat", *ENGINES):
        raise ValueError(f"expected the engine 'gsplat' or one among {', '.join(ENGINES)}, got '{engine}'")
    return engine
