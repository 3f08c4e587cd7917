"""Loss functions, of images in [0, 1], rendered depth, logits of probability maps and embeddings; learning rates."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import uniform_filter
from torch import Tensor

from halonerf.splatting.similarity import PhotometricFunction

C1, C2 = 0.01**2, 0.03**2  # stabilisers of SSIM for values in [0, 1] (Wang et al. 2004, K1 = 0.01, K2 = 0.03)


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """sum(values * weight) / sum(weight), a scalar; zero where all weights are zero.

    values: any shape. weight: non-negative, a shape that broadcasts to it.
    """
    weight = weight.expand_as(values)
    return (values * weight).sum() / weight.sum().clamp(min=1e-8)


def ssim_map(image: Tensor, other: Tensor, window: int = 7) -> Tensor:
    """Structural similarity at every pixel, with a box window (Wang et al. 2004, eq. 13).

    At the border the window is the part of it that lies within the image.

    image, other: [H, W, C] in [0, 1]. window: px, odd. Returns: [H, W, C] in [-1, 1]; 1 where equal.
    """
    pair = torch.stack([image, other]).permute(0, 3, 1, 2)
    x, y = pair[0], pair[1]
    stack = torch.cat([x, y, x * x, y * y, x * y])[None]
    mx, my, mxx, myy, mxy = box_mean(stack, window)[0].chunk(5)
    vx, vy, vxy = mxx - mx * mx, myy - my * my, mxy - mx * my
    similarity = ((2 * mx * my + C1) * (2 * vxy + C2)) / ((mx * mx + my * my + C1) * (vx + vy + C2))
    return similarity.permute(1, 2, 0)


def box_mean(images: Tensor, window: int) -> Tensor:
    """Mean over a box around every pixel, or the part of it that lies within the image, [B, C, H, W].

    Two depthwise convolutions: on a CPU some seven times faster than average pooling, forward and backward.

    images: [B, C, H, W]. window: px, the side of the box, odd.
    """
    sums = _box_sum(images, window)
    ones = images.new_ones(1, 1, *images.shape[-2:])
    return sums / _box_sum(ones, window)


def _box_sum(images: Tensor, window: int) -> Tensor:
    channels, half = images.shape[1], window // 2
    column = images.new_ones(channels, 1, window, 1)
    row = images.new_ones(channels, 1, 1, window)
    return F.conv2d(
        F.conv2d(images, column, padding=(half, 0), groups=channels), row, padding=(0, half), groups=channels
    )


def photometric(image: Tensor, photo: Tensor, weight: Tensor, ssim_share: float = 0.2) -> Tensor:
    """Mean over pixels of weight * ((1 - s) L1 + s (1 - SSIM)) (Kerbl et al. 2023, eq. 7, with a box window).

    Float32 on a CPU is computed by compiled loops that are many times faster, differentiable in the image alone.

    image, photo: [H, W, C] in [0, 1]. weight: [H, W], non-negative, held fixed. ssim_share: s, in [0, 1].
    """
    if image.device.type == "cpu" and image.dtype == torch.float32:
        return PhotometricFunction.apply(image, photo.to(image), weight.to(image), ssim_share)
    loss = (1 - ssim_share) * (image - photo).abs()
    if ssim_share > 0:
        loss = loss + ssim_share * (1 - ssim_map(image, photo))
    return (weight[..., None] * loss).mean()


def squared_error(image: Tensor, photo: Tensor, weight: Tensor) -> Tensor:
    """Mean over pixels of weight times the squared error, a scalar.

    image, photo: [H, W, C] in [0, 1]. weight: [H, W], non-negative.
    """
    return (weight * ((image - photo) ** 2).mean(dim=-1)).mean()


def depth_at_points(depth: Tensor, opacity: Tensor, pixels: Tensor, truth: Tensor) -> Tensor:
    """Mean over sparse points of opacity times the relative depth error |d - d*| / d*, a scalar.

    Points outside the image are left out; zero where no point is left.

    depth: [H, W], composited depth (opacity times mean depth), world units. opacity: [H, W] in [0, 1]. pixels: [M, 2],
    px, centres at +0.5. truth: [M], d*, positive, world units.
    """
    height, width = depth.shape
    grid = pixels / torch.tensor([width, height], dtype=pixels.dtype, device=pixels.device) * 2 - 1
    inside = (grid.abs() <= 1).all(dim=1)
    stack = torch.stack([depth, opacity])[None]
    sampled = F.grid_sample(stack, grid[None, None], align_corners=False, padding_mode="border")[0, :, 0]
    error = (sampled[0] - sampled[1] * truth).abs() / truth.clamp(min=1e-6)
    return weighted_mean(error, inside.to(error))


def transient_mask(residual: Tensor, valid: Tensor, quantile: float, floor: float) -> Tensor:
    """Pixels of large residual, such as people, cars and road signs, bool [H, W].

    The residual, smoothed over 9 x 9 px, is above its `quantile` and above `floor`, in a region that holds a square of
    7 x 7 px (after Sabour et al., RobustNeRF, 2023; a morphological opening instead of their neighbourhood vote).

    residual: [H, W], mean absolute error in [0, 1]. valid: bool [H, W]; other pixels are neither counted nor masked.
    quantile, floor: in [0, 1].
    """
    if not valid.any():
        return torch.zeros_like(valid)
    known = valid.cpu().numpy()
    smooth = uniform_filter(
        np.where(known, residual.detach().cpu().numpy(), 0.0).astype(np.float32), 9, mode="constant"
    )
    threshold = max(floor, float(np.quantile(smooth[known], quantile)))
    high = ((smooth > threshold) & known).astype(np.float32)
    eroded = (uniform_filter(high, 7, mode="nearest") > 1 - 0.5 / 49).astype(np.float32)
    opened = uniform_filter(eroded, 7, mode="constant") > 0.5 / 49
    return torch.from_numpy(opened).to(valid.device)


def soft_cross_entropy(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Binary cross-entropy with target probabilities, a weighted mean over the pixels of each map, then over the maps.

    Maps without weight are left out; zero where no map has any.

    logits, target, weight: [..., h, w]; target in [0, 1], weight non-negative. Returns: a scalar.
    """
    error = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    mass = weight.sum(dim=(-2, -1))
    means = (error * weight).sum(dim=(-2, -1)) / mass.clamp(min=1e-8)
    return weighted_mean(means, (mass > 0).to(means))


def binary_entropy(logits: Tensor) -> Tensor:
    """Entropy of predictions in nats, elementwise, in [0, ln 2]: low where they are confident. logits: any shape."""
    return F.binary_cross_entropy_with_logits(logits, torch.sigmoid(logits), reduction="none")


def contrastive(
    images: Tensor, texts: Tensor, positive: Tensor, negative: Tensor, weight: Tensor, scale: float, both: bool = True
) -> Tensor:
    """Contrastive loss of photos against texts and, with `both`, of texts against photos, a scalar.

    A positive pair (i, j) costs -log(e^s_ij / (e^s_ij + sum of e^s_ik over the negatives k of i)), s being `scale`
    times the cosine: InfoNCE (van den Oord et al., 2018) without other positives in the denominator, so that photos of
    one label are not pushed apart. A row costs the mean over its positives. With the diagonal as
    positives, everything else as negatives, equal weights and one direction it is the paper's multiple negatives
    ranking (Henderson et al., 2017).

    images, texts: [B, D], unit length. positive, negative: bool [B, B], photo by text; pairs that are neither are left
    out. weight: [B], of each pair of photo and text. A row without positives or without negatives costs nothing.
    """
    similarity = scale * images @ texts.T
    directions = [(similarity, positive, negative), (similarity.T, positive.T, negative.T)]
    return torch.stack([_ranking(*direction, weight) for direction in directions[: 1 + both]]).mean()


def _ranking(similarity: Tensor, positive: Tensor, negative: Tensor, weight: Tensor) -> Tensor:
    rivals = similarity.masked_fill(~negative, -1e6).logsumexp(dim=1, keepdim=True)  # finite: -inf has no gradient
    cost = F.softplus(rivals - similarity).masked_fill(~positive, 0.0)
    return weighted_mean(cost.sum(dim=1) / positive.sum(dim=1).clamp(min=1), weight * positive.any(dim=1))


def cosine_by_epoch(rate: float, epoch: int, epochs: int, last: float = 0.0) -> float:
    """Learning rate of an epoch, falling along half a cosine from epoch to epoch (Loshchilov and Hutter, 2017, eq. 5).

    As `torch.optim.lr_scheduler.CosineAnnealingLR` with one step an epoch: the first epoch has `rate`, and `last` would
    be that of the one after the last.

    epoch: from 0. epochs: of the whole fit, at least 1.
    """
    return last + 0.5 * (rate - last) * (1 + math.cos(math.pi * epoch / epochs))
