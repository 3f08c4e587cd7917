"""The rasteriser: 3D Gaussians and a camera in, composited features, depth and opacity out, differentiable.

    alpha_i(x) = min(o_i exp(-(x - c_i)^T S_i^-1 (x - c_i) / 2), 0.99),  zero below 1/255
    w_i = alpha_i prod_{j nearer} (1 - alpha_j),                         zero once less than 1e-4 of the light is left
    image = sum_i w_i f_i,  depth = sum_i w_i z_i,  opacity = sum_i w_i

(Kerbl et al., 3D Gaussian Splatting, 2023, eq. 1-6; S_i is the projected covariance + 0.3 px^2.) Any number of
features shares the weights, and `lift` is the adjoint of that linear map.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from halonerf.splatting import cpu, reference
from halonerf.types import View

ENGINES = ("numba", "reference")


@dataclass(frozen=True)
class Raster:
    """features: [H, W, C]. depth: [H, W], weighted sum of depths along the optical axis. opacity: [H, W]."""

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
    engine: str = "numba",
) -> Raster:
    """Draw Gaussians.

    Args:
        means: [N, 3], world units. scales: [N, 3], standard deviations, world units, positive.
        rotations: [N, 4], quaternions wxyz of any non-zero length. opacities: [N], in [0, 1].
        features: [N, C], C >= 0.
        offsets: [N, 2], px, added to the centres: pass zeros that require a gradient to learn where centres pull.
        engine: "numba" (float32, CPU, every core) or "reference" (dense torch, any precision).
    Returns: all zero where nothing is drawn. Gradients reach every tensor, not the camera.
    Raises: ValueError for an unknown engine.
    """
    if offsets is None:
        offsets = means.new_zeros(len(means), 2)
    if engine == "numba":
        image = cpu.Rasterise.apply(
            means, scales, rotations, opacities, features, offsets, cpu.pack_camera(view), view.width, view.height
        )
    elif engine == "reference":
        image = reference.rasterise(means, scales, rotations, opacities, features, offsets, view)
    else:
        raise ValueError(f"expected an engine among {', '.join(ENGINES)}, got '{engine}'")
    return Raster(image[..., :-2], image[..., -2], image[..., -1])


@torch.no_grad()
def lift(
    means: Tensor, scales: Tensor, rotations: Tensor, opacities: Tensor, maps: Tensor, view: View, engine: str = "numba"
) -> Tensor:
    """The adjoint of `rasterise` in its features: maps [H, W, C] -> [N, C], sum over pixels of weight times map."""
    if engine == "numba":
        return cpu.lift(means, scales, rotations, opacities, maps, cpu.pack_camera(view))
    if engine == "reference":
        weights, _ = reference.weigh(means, scales, rotations, opacities, means.new_zeros(len(means), 2), view)
        return weights @ maps.reshape(-1, maps.shape[-1]).to(weights)
    raise ValueError(f"expected an engine among {', '.join(ENGINES)}, got '{engine}'")
