"""Pixels and rays of views, and images sampled at a view's pixels. Pixel centres are at +0.5; frames as in `types`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from halonerf.types import View


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
        small = F.interpolate(part.permute(2, 0, 1)[None], (view.height, view.width), mode="area")
        return small[0].permute(1, 2, 0)
    grid = 2 * image_coordinates(view) - 1
    sampled = F.grid_sample(
        image.permute(2, 0, 1)[None], grid[None].to(image), align_corners=False, padding_mode="border"
    )
    return sampled[0].permute(1, 2, 0)
