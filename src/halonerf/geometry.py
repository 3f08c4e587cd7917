"""Pixels, rays, and pictures seen through a view. Pixel centres are at +0.5; frames as in `halonerf.types`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from halonerf.types import View


def pixel_centres(view: View) -> Tensor:
    """(x, y) of every pixel's centre, [H, W, 2], px of the view."""
    device = view.camera_to_world.device
    x = torch.arange(view.width, device=device) + 0.5
    y = torch.arange(view.height, device=device) + 0.5
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def ray_directions(view: View, pixels: Tensor) -> Tensor:
    """Directions in the world frame through pixels [..., 2], one unit long along the optical axis: [..., 3].

    The point at depth z (along the optical axis) on a pixel's ray is `view.centre + z * direction`.
    """
    centre = pixels.new_tensor([view.cx, view.cy])
    focal = pixels.new_tensor([view.fx, view.fy])
    plane = (pixels - centre) / focal
    rays = torch.cat([plane, torch.ones_like(plane[..., :1])], dim=-1)
    return rays @ view.camera_to_world[:, :3].T.to(rays)


def picture_coordinates(view: View) -> Tensor:
    """Where every pixel lies in the whole picture, [H, W, 2], in [0, 1]: x from left to right, y from top to bottom."""
    left, top, right, bottom = view.bounds
    pixels = pixel_centres(view)
    return (pixels - pixels.new_tensor([left, top])) / pixels.new_tensor([right - left, bottom - top])


def sample_picture(picture: Tensor, view: View, antialiased: bool) -> Tensor:
    """What the view sees of a whole picture [h, w, C]: [H, W, C].

    antialiased: a pixel is the mean of what it covers (the view must start and end on the picture's pixels and be no
    larger than them), not the picture interpolated at its centre.
    """
    height, width = picture.shape[:2]
    left, top, right, bottom = view.bounds
    sx, sy = width / (right - left), height / (bottom - top)
    if antialiased:
        x, y = round(-left * sx), round(-top * sy)
        part = picture[y : y + round(view.height * sy), x : x + round(view.width * sx)]
        if part.shape[:2] == (view.height, view.width):
            return part
        small = F.interpolate(part.permute(2, 0, 1)[None], (view.height, view.width), mode="area")
        return small[0].permute(1, 2, 0)
    grid = 2 * picture_coordinates(view) - 1
    seen = F.grid_sample(
        picture.permute(2, 0, 1)[None], grid[None].to(picture), align_corners=False, padding_mode="border"
    )
    return seen[0].permute(1, 2, 0)
