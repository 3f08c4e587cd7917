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
PARTS = 32  # of the rows, for the threads
ZERO, ONE, TWO = np.float32(0.0), np.float32(1.0), np.float32(2.0)


class Photometric(torch.autograd.Function):
    """mean_p w_p mean_c ((1 - s) |x - y| + s (1 - SSIM)); differentiable in the image alone."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, photo: Tensor, weight: Tensor, ssim_share: float) -> Tensor:
        height, width, channels = image.shape
        x, y = (t.detach().contiguous().numpy().reshape(height, width * channels) for t in (image, photo))
        share = weight.detach().contiguous().numpy()
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
def _inverse_counts(length, channels):
    """One over the number of places within `HALF` of a row's pixels, a channel an entry, [length]."""
    width = length // channels
    counts = np.empty(length, np.float32)
    for pixel in range(width):
        count = ONE / np.float32(min(pixel + HALF, width - 1) - max(pixel - HALF, 0) + 1)
        for c in range(channels):
            counts[pixel * channels + c] = count
    return counts


@compiled()
def _spread(share, row, channels, scale, out):
    """Fill out [W C] with a row of share [H, W] times `scale`, a channel an entry."""
    for pixel in range(share.shape[1]):
        for c in range(channels):
            out[pixel * channels + c] = share[row, pixel] * scale


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

    x, y: [H, W C], channels side by side. share: [H, W], each pixel's weight.
    """
    height, length = x.shape
    pad = HALF * channels
    for part in prange(PARTS):
        down = np.empty((5, length + 2 * pad), np.float32)
        mean = np.empty((5, length), np.float32)
        counts, weight = _inverse_counts(length, channels), np.empty(length, np.float32)
        first = np.int64(part)
        for row in range(first * height // PARTS, (first + 1) * height // PARTS):
            low, high = max(row - HALF, 0), min(row + HALF + 1, height)
            down[:] = ZERO
            for k in range(low, high):
                _add_moments(x[k], y[k], down[0], down[1], down[2], down[3], down[4], pad)
            for m in range(5):
                _across(down[m], channels, mean[m])
            _spread(share, row, channels, ONE / np.float32(x.size), weight)
            losses[row] = _similarities(
                x[row], y[row], weight, counts, ONE / np.float32(high - low), ssim_share,
                mean[0], mean[1], mean[2], mean[3], mean[4], partials[0, row], partials[1, row], partials[2, row],
            )  # fmt: skip


@compiled()
def _similarities(x, y, weight, counts, vertical, ssim_share, sx, sy, sxx, syy, sxy, by_x, by_xx, by_xy):
    """A row's loss from its windows' sums; fills the partials."""
    total = ZERO
    for i in range(x.shape[0]):
        count = vertical * counts[i]
        mx, my = sx[i] * count, sy[i] * count
        mxx, myy, mxy = sxx[i] * count, syy[i] * count, sxy[i] * count
        luminance, contrast = mx * mx + my * my + C1, mxx - mx * mx + myy - my * my + C2
        product, covariance = TWO * mx * my + C1, TWO * (mxy - mx * my) + C2
        below = ONE / (luminance * contrast)
        similarity = product * covariance * below
        total += weight[i] * ((ONE - ssim_share) * abs(x[i] - y[i]) + ssim_share * (ONE - similarity))
        outer = -weight[i] * ssim_share * count
        by_mean = TWO * my * (covariance - product) * below
        by_mean -= similarity * TWO * mx * (contrast - luminance) * below
        by_x[i] = outer * by_mean
        by_xx[i] = -outer * similarity * luminance * below
        by_xy[i] = outer * TWO * product * below
    return total


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
    for part in prange(PARTS):
        down = np.empty((3, length + 2 * pad), np.float32)
        sums, weight = np.empty((3, length), np.float32), np.empty(length, np.float32)
        first = np.int64(part)
        for row in range(first * height // PARTS, (first + 1) * height // PARTS):
            down[:] = ZERO
            for k in range(max(row - HALF, 0), min(row + HALF + 1, height)):
                for m in range(3):
                    _add(partials[m, k], down[m], pad)
            for m in range(3):
                _across(down[m], channels, sums[m])
            _spread(share, row, channels, (ONE - ssim_share) / np.float32(x.size), weight)
            _finish_row(x[row], y[row], weight, sums[0], sums[1], sums[2], gradient[row])


@compiled()
def _add(values, sums, pad):
    """Add a row to padded sums."""
    length = values.shape[0]
    sums = sums[pad : pad + length]
    for i in range(length):
        sums[i] += values[i]


@compiled()
def _finish_row(x, y, weight, by_x, by_xx, by_xy, gradient):
    """A row's gradient from the sums of its windows' partials; weight: of |x - y|."""
    for i in range(x.shape[0]):
        difference = x[i] - y[i]
        sign = ONE if difference > ZERO else (-ONE if difference < ZERO else ZERO)
        gradient[i] = weight[i] * sign + by_x[i] + TWO * x[i] * by_xx[i] + y[i] * by_xy[i]
