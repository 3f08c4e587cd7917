"""The photometric loss and its gradient as compiled kernels: `halonerf.losses.photometric` on a CPU.

Rows are processed in parallel, sixteen entries at once (`halonerf.splatting.lanes`): a row holds its pixels' channels
side by side, padded with zeros to a multiple of sixteen. Windows are summed down their seven rows first, then across.
SSIM depends on the image by three means over the window (of x, x x and x y); its gradient is the window sum,
transposed, of the three partial derivatives.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import prange
from torch import Tensor

from halonerf.splatting.compiled import compiled
from halonerf.splatting.lanes import LANES, above, choose, larger, load, splat, store, total

HALF = 3  # px on each side of a 7 x 7 window
C1, C2 = np.float32(0.01**2), np.float32(0.03**2)  # as in `halonerf.losses`
PARTS = 32  # that the rows are divided into for the threads
ZERO, ONE, TWO = np.float32(0.0), np.float32(1.0), np.float32(2.0)


class PhotometricFunction(torch.autograd.Function):
    """mean_p w_p mean_c ((1 - s) |x - y| + s (1 - SSIM)), a scalar; differentiable in the image alone.

    image x, photo y: [H, W, C]. weight w: [H, W]. ssim_share s: in [0, 1].
    """

    @staticmethod
    def forward(ctx: Any, image: Tensor, photo: Tensor, weight: Tensor, ssim_share: float) -> Tensor:
        height, width, channels = image.shape
        x, y = _padded(image), _padded(photo)
        share = weight.detach().contiguous().numpy()
        losses = np.empty(height, np.float64)
        partials = np.empty((3, *x.shape), np.float32)
        window_means(x, y, share, channels, np.float32(ssim_share), losses, partials)
        if ctx.needs_input_grad[0]:
            gradient = np.empty_like(x)
            gather_windows(x, y, share, channels, np.float32(ssim_share), partials, gradient)
            whole = np.ascontiguousarray(gradient[:, : width * channels])
            ctx.gradient = torch.from_numpy(whole.reshape(height, width, channels))
        return image.new_tensor(losses.sum())

    @staticmethod
    def backward(ctx: Any, scale: Tensor):  # type: ignore[override]
        return ctx.gradient * scale, None, None, None


def _padded(image: Tensor) -> np.ndarray:
    """image [H, W, C] as rows, [H, W C], padded with zeros to a multiple of `LANES`."""
    rows = image.detach().contiguous().numpy().reshape(len(image), -1)
    spare = -rows.shape[1] % LANES
    return np.pad(rows, ((0, 0), (0, spare))) if spare else rows


@compiled()
def _inverse_counts(width, channels, length):
    """Inverse number of pixels within `HALF` of each pixel of a row, one entry per channel, [length]."""
    counts = np.zeros(length, np.float32)
    for pixel in range(width):
        count = ONE / np.float32(min(pixel + HALF, width - 1) - max(pixel - HALF, 0) + 1)
        for c in range(channels):
            counts[pixel * channels + c] = count
    return counts


@compiled()
def _spread(share, row, channels, out):
    """Fill out [length] with a row of share [H, W], one entry per channel; the padding keeps its value."""
    for pixel in range(share.shape[1]):
        for c in range(channels):
            out[pixel * channels + c] = share[row, pixel]


@compiled()
def _window(columns, place, step):
    """Sums of seven entries that lie `step` apart, from `place` on."""
    return (
        load(columns, place) + load(columns, place + step) + load(columns, place + 2 * step)
        + load(columns, place + 3 * step) + load(columns, place + 4 * step) + load(columns, place + 5 * step)
        + load(columns, place + 6 * step)
    )  # fmt: skip


@compiled()
def _add_down(x, y, low, high, down, stride, pad):
    """Fill down [5 * stride] with the sums of x, y, xx, yy, xy over the rows from low to high, `pad` entries in."""
    length = x.shape[1]
    for i in range(0, length, LANES):
        sx, sy, sxx, syy, sxy = splat(ZERO), splat(ZERO), splat(ZERO), splat(ZERO), splat(ZERO)
        for k in range(low, high):
            one, other = load(x, k * length + i), load(y, k * length + i)
            sx, sy, sxx, syy, sxy = sx + one, sy + other, sxx + one * one, syy + other * other, sxy + one * other
        store(down, pad + i, sx)
        store(down, stride + pad + i, sy)
        store(down, 2 * stride + pad + i, sxx)
        store(down, 3 * stride + pad + i, syy)
        store(down, 4 * stride + pad + i, sxy)


@compiled(parallel=True)
def window_means(x, y, share, channels, ssim_share, losses, partials):
    """Fill losses [H], each row's part, and partials [3, H, L], of -s SSIM by the window's means of x, xx, xy.

    x, y: [H, L], padded rows. share: [H, W], each pixel's weight.
    """
    height, length = x.shape
    pad, size = HALF * channels, height * length
    stride = length + 2 * pad
    scale = ONE / np.float32(share.size * channels)
    for part in prange(PARTS):
        down, weight = np.zeros(5 * stride, np.float32), np.zeros(length, np.float32)
        counts, first = _inverse_counts(share.shape[1], channels, length), np.int64(part)
        one, two, c1, c2, s = splat(ONE), splat(TWO), splat(C1), splat(C2), splat(ssim_share)
        for row in range(first * height // PARTS, (first + 1) * height // PARTS):
            low, high = max(row - HALF, 0), min(row + HALF + 1, height)
            _add_down(x, y, low, high, down, stride, pad)
            _spread(share, row, channels, weight)
            vertical, summed = splat(ONE / np.float32(high - low)), splat(ZERO)
            for i in range(0, length, LANES):
                count = vertical * load(counts, i)
                mx, my = _window(down, i, channels) * count, _window(down, stride + i, channels) * count
                mxx, myy = (
                    _window(down, 2 * stride + i, channels) * count,
                    _window(down, 3 * stride + i, channels) * count,
                )
                mxy = _window(down, 4 * stride + i, channels) * count
                luminance, contrast = mx * mx + my * my + c1, mxx - mx * mx + myy - my * my + c2
                product, covariance = two * mx * my + c1, two * (mxy - mx * my) + c2
                below = one / (luminance * contrast)
                similarity = product * covariance * below
                at, own = row * length + i, load(weight, i) * splat(scale)
                away = load(x, at) - load(y, at)
                away = larger(away, splat(ZERO) - away)
                summed = summed + own * ((one - s) * away + s * (one - similarity))
                outer = splat(ZERO) - own * s * count
                by_mean = two * my * (covariance - product) * below
                by_mean = by_mean - similarity * two * mx * (contrast - luminance) * below
                store(partials, at, outer * by_mean)
                store(partials, size + at, splat(ZERO) - outer * similarity * luminance * below)
                store(partials, 2 * size + at, outer * two * product * below)
            losses[row] = total(summed)


@compiled(parallel=True)
def gather_windows(x, y, share, channels, ssim_share, partials, gradient):
    """Fill gradient [H, L] from the partials of all windows that hold a pixel, and from |x - y|."""
    height, length = x.shape
    pad, size = HALF * channels, height * length
    stride = length + 2 * pad
    scale = (ONE - ssim_share) / np.float32(share.size * channels)
    for part in prange(PARTS):
        down, weight = np.zeros(3 * stride, np.float32), np.zeros(length, np.float32)
        first, none = np.int64(part), splat(ZERO)
        for row in range(first * height // PARTS, (first + 1) * height // PARTS):
            for m in range(3):
                for i in range(0, length, LANES):
                    summed = splat(ZERO)
                    for k in range(max(row - HALF, 0), min(row + HALF + 1, height)):
                        summed = summed + load(partials, m * size + k * length + i)
                    store(down, m * stride + pad + i, summed)
            _spread(share, row, channels, weight)
            for i in range(0, length, LANES):
                at = row * length + i
                one, other = load(x, at), load(y, at)
                own = load(weight, i) * splat(scale)
                absolute = choose(above(one, other), own, choose(above(other, one), none - own, none))
                by_x, by_xx = _window(down, i, channels), _window(down, stride + i, channels)
                by_xy = _window(down, 2 * stride + i, channels)
                store(gradient, at, absolute + by_x + splat(TWO) * one * by_xx + other * by_xy)
