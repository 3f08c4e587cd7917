"""The plain engine: every Gaussian against every pixel in torch, differentiated by autograd, in any precision.

It exists to be obviously right; memory grows as Gaussians times pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from halonerf.rotations import matrices
from halonerf.splatting.constants import ALPHA_MAX, ALPHA_MIN, BLUR, LIGHT_MIN, NEAR, slope_limits
from halonerf.types import View


def rasterise(means, scales, rotations, opacities, features, offsets, view: View) -> Tensor:
    """Composite features [N, C], depth and opacity: image [H, W, C + 2]; arguments as in `rasterise.rasterise`."""
    weights, depth = weigh(means, scales, rotations, opacities, offsets, view)
    values = torch.cat([features, depth[:, None], torch.ones_like(depth)[:, None]], dim=1)
    return (weights.T @ values).reshape(view.height, view.width, -1)


def weigh(means, scales, rotations, opacities, offsets, view: View) -> tuple[Tensor, Tensor]:
    """Weights [N, H W] of each Gaussian in each pixel, and depths [N]; a pixel's weights sum to its opacity."""
    centres, covariances, depth = project(means, scales, rotations, view)
    centres = centres + offsets
    conics = torch.linalg.inv(covariances)
    rows, columns = torch.meshgrid(
        torch.arange(view.height, dtype=means.dtype) + 0.5,
        torch.arange(view.width, dtype=means.dtype) + 0.5,
        indexing="ij",
    )
    pixels = torch.stack([columns.reshape(-1), rows.reshape(-1)], dim=1)
    away = pixels[None] - centres[:, None]
    exponent = 0.5 * torch.einsum("npi,nij,npj->np", away, conics, away)
    alpha = opacities[:, None] * torch.exp(-exponent)
    drawn = (alpha >= ALPHA_MIN) & (depth > NEAR)[:, None]
    alpha = torch.where(drawn, alpha, torch.zeros_like(alpha)).clamp(max=ALPHA_MAX)
    order = torch.argsort(depth, stable=True)
    light = torch.ones(pixels.shape[0], dtype=means.dtype)
    unfinished = torch.ones_like(light, dtype=torch.bool)
    weights: list[Tensor] = [torch.empty(0)] * len(means)
    for index in order.tolist():
        after = light * (1 - alpha[index])
        unfinished = unfinished & (after > LIGHT_MIN)
        weights[index] = torch.where(unfinished, alpha[index] * light, torch.zeros_like(light))
        light = torch.where(unfinished, after, light)
    return torch.stack(weights) if weights else alpha, depth


def project(means, scales, rotations, view: View) -> tuple[Tensor, Tensor, Tensor]:
    """Centres [N, 2] px, covariances [N, 2, 2] px^2 with blur, depths [N]; behind the camera: anything."""
    pose = view.world_to_camera.to(means)
    points = means @ pose[:, :3].T + pose[:, 3]
    depth = points[:, 2]
    z = torch.where(depth > NEAR, depth, torch.ones_like(depth))
    x_slope, y_slope = points[:, 0] / z, points[:, 1] / z
    centres = torch.stack([view.fx * x_slope + view.cx, view.fy * y_slope + view.cy], dim=1)
    left, right, top, bottom = slope_limits(view)
    x_slope, y_slope = x_slope.clamp(left, right), y_slope.clamp(top, bottom)
    zero = torch.zeros_like(z)
    jacobian = torch.stack(
        [view.fx / z, zero, -view.fx * x_slope / z, zero, view.fy / z, -view.fy * y_slope / z], dim=1
    ).reshape(-1, 2, 3)
    spread = jacobian @ pose[:, :3] @ (matrices(rotations) * scales[:, None])
    blur = BLUR * torch.eye(2, dtype=means.dtype)
    return centres, spread @ spread.transpose(1, 2) + blur, depth
