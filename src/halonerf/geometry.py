"""Pixels and rays of views; images sampled at a view's pixels, and resized without displacement.

Pixel centres are at +0.5; frames as in `types`.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from halonerf.types import View

BLOCK = 1 << 20  # values of a picture that are resized together: they stay in a core's cache


def pixel_centres(view: View) -> Tensor:
    """Centres (x, y) of all pixels, [H, W, 2], px of the view."""
    device = view.camera_to_world.device
    x = torch.arange(view.width, device=device) + 0.5
    y = torch.arange(view.height, device=device) + 0.5
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def ray_directions(view: View, pixels: Tensor) -> Tensor:
    """Directions of the rays through pixels, [..., 3], world frame, of length one along the optical axis.

    The point at depth z (along the optical axis) on a pixel's ray is `view.centre + z * direction`.

    pixels: [..., 2], px of the view.
    """
    centre = pixels.new_tensor([view.cx, view.cy])
    focal = pixels.new_tensor([view.fx, view.fy])
    plane = (pixels - centre) / focal
    rays = torch.cat([plane, torch.ones_like(plane[..., :1])], dim=-1)
    return rays @ view.camera_to_world[:, :3].T.to(rays)


def random_grid(view: View, side: int, min_share: float, generator: torch.Generator) -> View:
    """A grid of `side` x `side` pixels over a random window of a view (Schwarz et al., GRAF, 2020, section 3.2).

    min_share: the window's smallest side, in sides of the view; the largest is 1.
    """
    share, x, y = torch.rand(3, generator=generator).tolist()
    share = min_share + (1 - min_share) * share
    width, height = max(1, round(share * view.width)), max(1, round(share * view.height))
    window = view.cropped(x * (view.width - width), y * (view.height - height), width, height)
    return window.resized(side, side)


def image_coordinates(view: View) -> Tensor:
    """Positions of all pixels in the whole image, [H, W, 2] in [0, 1]: x from left to right, y from top to bottom."""
    left, top, right, bottom = view.bounds
    pixels = pixel_centres(view)
    return (pixels - pixels.new_tensor([left, top])) / pixels.new_tensor([right - left, bottom - top])


def sample_image(image: Tensor, view: View, antialiased: bool) -> Tensor:
    """A whole image sampled at the pixels of a view, [H, W, C].

    image: [h, w, C], of the whole image that the view may be a part of, at any resolution. antialiased: a pixel is the
    mean of what it covers (the view must start and end at the image's pixels and not be finer), instead of the
    image interpolated bilinearly at its centre.
    """
    height, width = image.shape[:2]
    left, top, right, bottom = view.bounds
    sx, sy = width / (right - left), height / (bottom - top)
    if antialiased:
        x, y = round(-left * sx), round(-top * sy)
        part = image[y : y + round(view.height * sy), x : x + round(view.width * sx)]
        if part.shape[:2] == (view.height, view.width):
            return part
        return resize_mean(part.permute(2, 0, 1), view.height, view.width).permute(1, 2, 0)
    grid = 2 * image_coordinates(view) - 1
    sampled = F.grid_sample(
        image.permute(2, 0, 1)[None], grid[None].to(image), align_corners=False, padding_mode="border"
    )
    return sampled[0].permute(1, 2, 0)


def resize_mean(image: Tensor, height: int, width: int) -> Tensor:
    """Average an image [..., H, W] over the areas that the pixels of [..., height, width] cover; float.

    Along each axis a pixel is the mean of the source pixels that it covers, weighted by the length covered; the weights
    of its first and last source pixel are then balanced so that linear ramps are kept. Whole factors give plain block
    means, growing axes linear interpolation. Weights are non-negative and sum to 1, so results stay within the values.

    A plain area mean is displaced by up to 0.06 px (at 3:2 and 4:3), `PIL.Image.BOX`, whose weights are 0 or 1, by up
    to 0.5 px, `interpolate(mode="area")`, whose areas grow to whole pixels, by up to 0.25 px at halves of odd sizes.
    """
    image = image if image.is_floating_point() else image.float()
    for axis, size in ((-2, height), (-1, width)):
        image = _weighted_sum(image, axis, *_weights(image.shape[axis], size))
    return image


def resize_pixels(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """`resize_mean` of an array [H, W] or [H, W, C] of integers (rounded) or floats, in the array's type.

    Photos are averaged in their stored gamma space.
    """
    rows, columns = pixels.shape[:2]
    if (rows, columns) == (height, width):
        return pixels
    source = torch.from_numpy(np.require(pixels, requirements=("C", "W")))
    result = np.empty((height, width, *pixels.shape[2:]), pixels.dtype)
    (first, weights), across = _weights(rows, height), _weights(columns, width)
    together = max(1, BLOCK * height // (max(1, source[:1].numel()) * max(rows, height)))
    for start in range(0, height, together):
        block = slice(start, start + together)
        mean = _weighted_sum(_weighted_sum(source, 0, first[block], weights[block]), 1, *across)
        result[block] = (mean.round() if np.issubdtype(pixels.dtype, np.integer) else mean).numpy()
    return result


def _weighted_sum(image: Tensor, axis: int, first: np.ndarray, weights: np.ndarray) -> Tensor:
    """Sums of n neighbours along an axis: from index `first` [size], weighted by [size, n]; float, [.., size, ..]."""
    shape = [1] * image.ndim
    shape[axis] = len(first)
    total: Tensor | None = None
    for column, weight in enumerate(weights.T):
        index = np.minimum(first + column, image.shape[axis] - 1)
        part = image.index_select(axis, torch.from_numpy(index).to(image.device))
        part = part if part.is_floating_point() else part.float()
        term = part * torch.from_numpy(weight).to(part).reshape(shape)
        total = term if total is None else total + term
    assert total is not None
    return total


@lru_cache(maxsize=64)
def _weights(source: int, target: int) -> tuple[np.ndarray, np.ndarray]:
    """First source pixel of each target pixel, [target], and the weights from there on, [target, n]; 0 beyond."""
    scale = source / target
    start = np.arange(target) * source / target
    centre = start + scale / 2
    if target > source:  # linear interpolation between pixels' centres
        first = np.clip(np.floor(centre - 0.5), 0, max(source - 2, 0)).astype(np.int64)
        right = np.clip(centre - 0.5 - first, 0.0, 1.0)
        return first, np.stack([1 - right, right], axis=1)
    first = np.floor(start + 1e-9).astype(np.int64)
    pixels = first[:, None] + np.arange(int(np.ceil(scale)) + 1)
    covered = np.minimum(pixels + 1, (start + scale)[:, None]) - np.maximum(pixels, start[:, None])
    weights = np.where((covered > 1e-9) & (pixels < source), covered, 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    last = (weights > 0).cumsum(axis=1).argmax(axis=1)
    excess = (weights * (pixels + 0.5)).sum(axis=1) - centre
    rows = np.flatnonzero(last)
    weights[rows, 0] += excess[rows] / last[rows]
    weights[rows, last[rows]] -= excess[rows] / last[rows]
    return first, weights[:, : int(last.max()) + 1]
