"""The photometric loss of a fit and its gradient, compiled: `halonerf.losses.photometric` on a CPU.

Rows are handled in parallel. A row's windows are summed down its seven rows for all columns at once, then across, so
that both sums are vector instructions. SSIM depends on the image by three means over the window (of x, x x and x y);
its gradient is the window sum, transposed, of the three partial derivatives.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import prange
from torch import Tensor

from halonerf.splatting.compiled import compiled

HALF = 3  # px on each side of a 7 x 7 window
C1, C2 = np.float32(0.01**2), np.float32(0.03**2)  # as in `halonerf.losses`
ZERO, ONE, TWO = np.float32(0.0), np.float32(1.0), np.float32(2.0)


class Photometric(torch.autograd.Function):
    """sum_p w_p mean_c ((1 - s) |x - y| + s (1 - SSIM)) / sum_p w_p; differentiable in the image alone."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, photo: Tensor, weight: Tensor, ssim_share: float) -> Tensor:
        height, width, channels = image.shape
        x, y = (t.detach().contiguous().numpy().reshape(height, width * channels) for t in (image, photo))
        share = weight.detach().contiguous().numpy() / np.float32(max(float(weight.sum()), 1e-8) * channels)
        losses = np.empty(height, np.float64)
        partials = np.empty((3, height, width * channels), np.float32)
        window_means(x, y, share, channels, np.float32(ssim_share), losses, partials)
        if ctx.needs_input_grad[0]:
            gradient = np.empty_like(x)
            gather_windows(x, y, share, channels, np.float32(ssim_share), partials, gradient)
            ctx.gradient = torch.from_numpy(gradient.reshape(height, width, channels))
        return image.new_tensor(losses.sum())

    @staticmethod
    def backward(ctx: Any, scale: Tensor):  # type: ignore[override]
        return ctx.gradient * scale, None, None, None


@compiled()
def _inverse_count(place, size):
    """One over the number of places within `HALF` of `place` in [0, size)."""
    return ONE / np.float32(min(place + HALF, size - 1) - max(place - HALF, 0) + 1)


@compiled()
def _across(column, step, out):
    """Sum of the seven entries of `column` that lie `step` apart; it is padded by 3 step on both sides."""
    for i in range(out.shape[0]):
        out[i] = (
            column[i] + column[i + step] + column[i + 2 * step] + column[i + 3 * step]
            + column[i + 4 * step] + column[i + 5 * step] + column[i + 6 * step]
        )  # fmt: skip


@compiled(parallel=True)
def window_means(x, y, share, channels, ssim_share, losses, partials):
    """Fill losses [H], each row's part, and partials [3, H, W C], of -s SSIM by the window's means of x, xx, xy.

    x, y: [H, W C], channels side by side. share: [H, W], each pixel's weight per channel.
    """
    height, length = x.shape
    pad = HALF * channels
    for row in prange(height):
        down = np.zeros((5, length + 2 * pad), np.float32)
        for k in range(max(row - HALF, 0), min(row + HALF + 1, height)):
            _add_moments(x[k], y[k], down[0], down[1], down[2], down[3], down[4], pad)
        mean = np.empty((5, length), np.float32)
        for m in range(5):
            _across(down[m], channels, mean[m])
        vertical = _inverse_count(row, height)
        total = 0.0
        for i in range(length):
            count = vertical * _inverse_count(i // channels, length // channels)
            mx, my = mean[0, i] * count, mean[1, i] * count
            mxx, myy, mxy = mean[2, i] * count, mean[3, i] * count, mean[4, i] * count
            luminance, contrast = mx * mx + my * my + C1, mxx - mx * mx + myy - my * my + C2
            product, covariance = TWO * mx * my + C1, TWO * (mxy - mx * my) + C2
            below = ONE / (luminance * contrast)
            similarity = product * covariance * below
            weight = share[row, i // channels]
            total += weight * ((ONE - ssim_share) * abs(x[row, i] - y[row, i]) + ssim_share * (ONE - similarity))
            outer = -weight * ssim_share * count
            by_mean = TWO * my * (covariance - product) * below
            by_mean -= similarity * TWO * mx * (ONE / luminance - ONE / contrast)
            partials[0, row, i] = outer * by_mean
            partials[1, row, i] = -outer * similarity / contrast
            partials[2, row, i] = outer * TWO * product * below
        losses[row] = total


@compiled()
def _add_moments(x, y, sx, sy, sxx, syy, sxy, pad):
    """Add a row's x, y, xx, yy, xy to padded sums."""
    length = x.shape[0]
    sx, sy = sx[pad : pad + length], sy[pad : pad + length]
    sxx, syy, sxy = sxx[pad : pad + length], syy[pad : pad + length], sxy[pad : pad + length]
    for i in range(length):
        sx[i] += x[i]
        sy[i] += y[i]
    for i in range(length):
        sxx[i] += x[i] * x[i]
        sxy[i] += x[i] * y[i]
    for i in range(length):
        syy[i] += y[i] * y[i]


@compiled(parallel=True)
def gather_windows(x, y, share, channels, ssim_share, partials, gradient):
    """Fill gradient [H, W C] from the partials of all windows that hold a pixel, and from |x - y|."""
    height, length = x.shape
    pad = HALF * channels
    for row in prange(height):
        down = np.zeros((3, length + 2 * pad), np.float32)
        for k in range(max(row - HALF, 0), min(row + HALF + 1, height)):
            for m in range(3):
                for i in range(length):
                    down[m, pad + i] += partials[m, k, i]
        sums = np.empty((3, length), np.float32)
        for m in range(3):
            _across(down[m], channels, sums[m])
        for i in range(length):
            difference = x[row, i] - y[row, i]
            sign = ONE if difference > ZERO else (-ONE if difference < ZERO else ZERO)
            absolute = (ONE - ssim_share) * share[row, i // channels] * sign
            gradient[row, i] = absolute + sums[0, i] + TWO * x[row, i] * sums[1, i] + y[row, i] * sums[2, i]
