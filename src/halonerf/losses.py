"""Pure losses: on images in [0, 1], and on logits of maps."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import uniform_filter
from torch import Tensor

from halonerf.splatting.similarity import Photometric

C1, C2 = 0.01**2, 0.03**2  # stabilisers of SSIM for values in [0, 1] (Wang et al. 2004, K1 = 0.01, K2 = 0.03)


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """sum(values * weight) / sum(weight) over broadcast shapes; zero where nothing has weight."""
    weight = weight.expand_as(values)
    return (values * weight).sum() / weight.sum().clamp(min=1e-8)


def ssim_map(image: Tensor, other: Tensor, window: int = 7) -> Tensor:
    """Structural similarity of every pixel, with a box window (Wang et al. 2004, eq. 13).

    image, other: [H, W, C]. Returns: [H, W, C] in [-1, 1]; 1 where equal. At the border the window is the part of it
    that lies within the image.
    """
    pair = torch.stack([image, other]).permute(0, 3, 1, 2)
    x, y = pair[0], pair[1]
    stack = torch.cat([x, y, x * x, y * y, x * y])[None]
    mx, my, mxx, myy, mxy = box_mean(stack, window)[0].chunk(5)
    vx, vy, vxy = mxx - mx * mx, myy - my * my, mxy - mx * my
    similarity = ((2 * mx * my + C1) * (2 * vxy + C2)) / ((mx * mx + my * my + C1) * (vx + vy + C2))
    return similarity.permute(1, 2, 0)


def box_mean(images: Tensor, window: int) -> Tensor:
    """Mean over a `window` x `window` px box, or the part of it that lies within the image: [B, C, H, W].

    Two depthwise convolutions: on a CPU some seven times faster than average pooling, forward and backward.
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

    image, photo: [H, W, C]. weight: [H, W], non-negative, held fixed. Float32 on a CPU goes through compiled loops,
    differentiable in the image alone, that are many times faster.
    """
    if image.device.type == "cpu" and image.dtype == torch.float32:
        return Photometric.apply(image, photo.to(image), weight.to(image), ssim_share)
    loss = (1 - ssim_share) * (image - photo).abs()
    if ssim_share > 0:
        loss = loss + ssim_share * (1 - ssim_map(image, photo))
    return (weight[..., None] * loss).mean()


def depth_at_points(depth: Tensor, opacity: Tensor, pixels: Tensor, truth: Tensor) -> Tensor:
    """Mean relative error |d - d*| / d* of rendered depth at sparse points, each counted by what it stops there.

    depth: [H, W], composited depth (opacity times mean depth). opacity: [H, W]. pixels: [M, 2], centres at +0.5.
    truth: [M], positive, the unit of depth. Points outside the image say nothing; without any the loss is zero.
    """
    height, width = depth.shape
    grid = pixels / torch.tensor([width, height], dtype=pixels.dtype, device=pixels.device) * 2 - 1
    inside = (grid.abs() <= 1).all(dim=1)
    stack = torch.stack([depth, opacity])[None]
    seen = F.grid_sample(stack, grid[None, None], align_corners=False, padding_mode="border")[0, :, 0]
    error = (seen[0] - seen[1] * truth).abs() / truth.clamp(min=1e-6)
    return weighted_mean(error, inside.to(error))


def transient_mask(residual: Tensor, valid: Tensor, quantile: float, floor: float) -> Tensor:
    """Pixels that the static scene does not explain: people, cars, a road sign.

    The residual, smoothed over 9 x 9 px, is above its `quantile` and above `floor`, and so are enough neighbours for
    a 7 x 7 px square to fit in (after Sabour et al., RobustNeRF, 2023; an opening instead of their neighbourhood vote).

    residual: [H, W], mean absolute error in [0, 1]. valid: bool [H, W]. Returns: bool [H, W], true where transient.
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
    """Binary cross-entropy with probabilities, a weighted mean over the pixels of each map, then over the maps.

    logits, target, weight: [..., h, w]; target in [0, 1], weight non-negative. A map without weight does not count;
    where none has any the loss is zero.
    """
    error = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    mass = weight.sum(dim=(-2, -1))
    means = (error * weight).sum(dim=(-2, -1)) / mass.clamp(min=1e-8)
    return weighted_mean(means, (mass > 0).to(means))


def binary_entropy(logits: Tensor) -> Tensor:
    """Cross-entropy of predictions with themselves, elementwise, in nats: low where they are sure."""
    return F.binary_cross_entropy_with_logits(logits, torch.sigmoid(logits), reduction="none")


def contrastive(
    images: Tensor, texts: Tensor, positive: Tensor, negative: Tensor, weight: Tensor, scale: float, both: bool = True
) -> Tensor:
    """How much likelier each photo's own texts are than texts that it does not show; and, with `both`, the reverse.

    A positive pair (i, j) costs -log(e^s_ij / (e^s_ij + sum of e^s_ik over the negatives k of i)), s being `scale`
    times the cosine: InfoNCE (van den Oord et al., 2018) in which no other positive stands in the denominator, so
    that nothing pushes photos of one label apart. A row costs the mean over its positives. With the diagonal as
    positives, everything else as negatives, equal weights and one direction it is the paper's multiple negatives
    ranking (Henderson et al., 2017).

    images, texts: [B, D], unit length. positive, negative: bool [B, B], photo by text; what is neither is left out.
    weight: [B], of each pair of photo and text. A row without positives or without negatives costs nothing.
    """
    similarity = scale * images @ texts.T
    ways = [(similarity, positive, negative), (similarity.T, positive.T, negative.T)]
    return torch.stack([_ranking(*way, weight) for way in ways[: 1 + both]]).mean()


def _ranking(similarity: Tensor, positive: Tensor, negative: Tensor, weight: Tensor) -> Tensor:
    rivals = similarity.masked_fill(~negative, -1e6).logsumexp(dim=1, keepdim=True)  # finite: -inf has no gradient
    cost = F.softplus(rivals - similarity).masked_fill(~positive, 0.0)
    return weighted_mean(cost.sum(dim=1) / positive.sum(dim=1).clamp(min=1), weight * positive.any(dim=1))
