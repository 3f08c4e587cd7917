"""Lights of a page: the mean, the times of day, and photos whose appearance codes lie far apart; their skies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from halonerf.data.scene.scene import Scene
from halonerf.geometry import pixel_centres, ray_directions
from halonerf.page.photos import farthest_points
from halonerf.protocols import TrainableField
from halonerf.rendering.appearance import appearance_code
from halonerf.rendering.times_of_day import photos_by_time_of_day
from halonerf.splatting.rasterise import rasterise
from halonerf.types import Splats, View
from halonerf.visualization.pictures import to_uint8

SKY_SIZE, SKY_VIEWS = 32, 4  # px, long side; views rendered to find the sky's colours
MIN_SKY_PIXELS = 40  # in all of them; with fewer there is no sky
SKY_OPACITY = 0.1  # of a pixel of the sky, at most
HIGH = 0.7  # sine of the elevation at which the sky's upper colour is taken; as in draw.js
DARK = (16, 18, 22)  # of the page, where a light has no sky


@dataclass(frozen=True)
class SharedLight:
    """A light of the page. name: shown to users. photo: whose appearance it is, "" for the mean. code: [A]."""

    name: str
    photo: str
    code: Tensor


@torch.no_grad()
def choose_lights(field: TrainableField, scene: Scene, photos: int) -> list[SharedLight]:
    """The mean, the times of day, and at most `photos` training photos chosen by farthest points of their codes."""
    lights = [SharedLight("mean of all photos", "", field.mean_appearance().cpu())]
    lights += [
        SharedLight(hour, photo, appearance_code(photo, field, scene, 0).cpu())
        for hour, photo in photos_by_time_of_day(field, scene).items()
    ]
    names = [scene.names[i] for i in scene.indices("train")]
    codes = torch.stack([lights[0].code, *(appearance_code(name, field, scene, 0).cpu() for name in names)])
    chosen = [names[row - 1] for row in farthest_points(codes.float(), 0, photos + 1)[1:]]
    taken = {light.photo for light in lights}
    return lights + [
        SharedLight(f"photo {name}", name, appearance_code(name, field, scene, 0).cpu())
        for name in chosen
        if name not in taken
    ]


@torch.no_grad()
def sky_colours(field: TrainableField, views: list[View], up: Tensor, code: Tensor) -> dict[str, Any] | None:
    """Colours of the sky at the horizon ("low") and above ("high") by least squares over its pixels.

    Args:
        up: unit vector [3] of the world. code: appearance code [A].
    Returns: lists of red, green and blue in 0..255; None where the renderings show fewer than `MIN_SKY_PIXELS` of it.
    """
    sines, colours = [], []
    for view in views[:: max(1, len(views) // SKY_VIEWS)]:
        small = view.with_long_side(SKY_SIZE, min_side=2)
        rendering = field.render(small, code.to(small.camera_to_world.device))
        is_sky = rendering.opacity < SKY_OPACITY
        sine = _elevation_sine(small, up)
        sines.append(sine[is_sky].cpu())
        colours.append(rendering.colour[is_sky].cpu())
    sine, colour = torch.cat(sines).double(), torch.cat(colours).double()
    if len(sine) < MIN_SKY_PIXELS:
        return None
    line = torch.linalg.lstsq(torch.stack([torch.ones_like(sine), sine], dim=1), colour, driver="gelsd").solution
    seen = float(sine.min()), float(sine.max())  # the line is not extrapolated

    def at(elevation_sine: float) -> list[int]:
        colours: list[int] = to_uint8(line[0] + float(np.clip(elevation_sine, *seen)) * line[1]).tolist()
        return colours

    return {"low": at(0.0), "high": at(HIGH)}


@torch.no_grad()
def render_preview(
    splats: Splats, colours: Tensor, view: View, up: Tensor, sky: dict[str, Any] | None, width: int
) -> NDArray[np.uint8]:
    """Splats over the sky as the page draws them, uint8 [H, W, 3].

    Args:
        colours: [N, 3] in [0, 1]. up: unit vector [3] of the world. sky: see `sky_colours`. width: px.
    """
    view = view.resized(width, max(1, round(view.height * width / view.width)))
    raster = rasterise(splats.centres, splats.scales, splats.rotations, splats.opacities, colours, view)
    low, high = (torch.tensor(sky[part] if sky else DARK) / 255 for part in ("low", "high"))
    background = torch.lerp(low, high, (_elevation_sine(view, up) / HIGH).clamp(0, 1)[..., None])
    return to_uint8(raster.features + (1 - raster.opacity[..., None]) * background)


def _elevation_sine(view: View, up: Tensor) -> Tensor:
    """Sine of the angle between each pixel's ray and the horizon, [H, W]."""
    return F.normalize(ray_directions(view, pixel_centres(view)), dim=-1) @ up.to(view.camera_to_world)
