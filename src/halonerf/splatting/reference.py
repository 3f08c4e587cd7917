"""The reference engine: all Gaussians at all pixels in plain torch, differentiated by autograd, in any precision.

Other engines are tested against it. Memory grows as Gaussians times pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from halonerf.rotations import matrices
from halonerf.splatting.constants import ALPHA_MAX, ALPHA_MIN, BLUR, MIN_TRANSMITTANCE, NEAR, slope_limits
from halonerf.types import View


def rasterise(means, scales, rotations, opacities, features, offsets, view: View) -> Tensor:
    """Composited features, depth and opacity side by side, [H, W, C + 2]; arguments as of `rasterise.rasterise`."""
    weights, depth = pixel_weights(means, scales, rotations, opacities, offsets, view)
    values = torch.cat([features, depth[:, None], torch.ones_like(depth)[:, None]], dim=1)
    return (weights.T @ values).reshape(view.height, view.width, -1)


def pixel_weights(means, scales, rotations, opacities, offsets, view: View) -> tuple[Tensor, Tensor]:
    """Weights [N, H W] of every Gaussian in every pixel, and depths [N], world units; a pixel's sum is its opacity."""
    centres, axes, depth = project_axes(means.double(), scales.double(), rotations.double(), view)
    narrow, shear, low = (values.to(means.dtype) for values in exponents(axes))  # a few numbers: double costs nothing
    centres, depth = centres.to(means.dtype) + offsets, depth.to(means.dtype)
    rows, columns = torch.meshgrid(
        torch.arange(view.height, dtype=means.dtype) + 0.5,
        torch.arange(view.width, dtype=means.dtype) + 0.5,
        indexing="ij",
    )
    pixels = torch.stack([columns.reshape(-1), rows.reshape(-1)], dim=1)
    away = pixels[None] - centres[:, None]
    beside = away[..., 0] - shear[:, None] * away[..., 1]
    exponent = 0.5 * (narrow[:, None] * beside**2 + low[:, None] * away[..., 1] ** 2)
    alpha = opacities[:, None] * torch.exp(-exponent)
    drawn = (alpha >= ALPHA_MIN) & (depth > NEAR)[:, None]
    alpha = torch.where(drawn, alpha, torch.zeros_like(alpha)).clamp(max=ALPHA_MAX)
    order = torch.argsort(depth, stable=True)
    transmittance = torch.ones(pixels.shape[0], dtype=means.dtype)
    unfinished = torch.ones_like(transmittance, dtype=torch.bool)
    weights: list[Tensor] = [torch.empty(0)] * len(means)
    for index in order.tolist():
        after = transmittance * (1 - alpha[index])
        unfinished = unfinished & (after > MIN_TRANSMITTANCE)
        weights[index] = torch.where(unfinished, alpha[index] * transmittance, 0.0)
        transmittance = torch.where(unfinished, after, transmittance)
    return torch.stack(weights) if weights else alpha, depth


def exponents(axes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """a, s and e of the exponent (a (dx - s dy)^2 + e dy^2) / 2 at an offset (dx, dy) px from the centre, [N] each.

    No difference of large numbers is taken, so that long and thin splats keep their precision; see
    `halonerf.splatting.projection`.

    axes: [N, 2, 3], px, as of `project_axes`.
    """
    x, y = axes[:, 0], axes[:, 1]
    xx, yy, xy = (x * x).sum(dim=1), (y * y).sum(dim=1), (x * y).sum(dim=1)
    minors = torch.linalg.cross(x, y)
    determinant = (minors * minors).sum(dim=1) + BLUR * (xx + yy) + BLUR**2
    return (yy + BLUR) / determinant, xy / (yy + BLUR), 1 / (yy + BLUR)


def project(means, scales, rotations, view: View) -> tuple[Tensor, Tensor, Tensor]:
    """Centres [N, 2] px, covariances [N, 2, 2] px^2 with blur, depths [N]; undefined behind the camera."""
    centres, axes, depth = project_axes(means, scales, rotations, view)
    return centres, axes @ axes.transpose(1, 2) + BLUR * torch.eye(2, dtype=means.dtype), depth


def project_axes(means, scales, rotations, view: View) -> tuple[Tensor, Tensor, Tensor]:
    """Centres [N, 2] px, axes on the image [N, 2, 3] px, depths [N]; undefined behind the camera.

    The covariance on the image is the product of the axes with their transpose, plus the blur.
    """
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
    return centres, jacobian @ pose[:, :3] @ (matrices(rotations) * scales[:, None]), depth
