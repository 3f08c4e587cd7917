"""The lights that a page can show: the mean, those that have a name, and some photos' that differ most."""

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
from halonerf.protocols import TrainableField
from halonerf.rendering.appearance import appearance_code
from halonerf.rendering.times_of_day import photos_by_time_of_day
from halonerf.splatting.rasterise import rasterise
from halonerf.stages.share.photos import far_apart
from halonerf.types import Splats, View

SKY_SIZE, SKY_VIEWS, SKY_PIXELS = 32, 4, 40  # px, long side; views looked at; pixels without which there is no sky
CLEAR = 0.1  # opacity below which a pixel shows the sky
HIGH = 0.7  # sine of the height over the horizon at which the sky's upper colour is taken; as in share_draw.js


@dataclass(frozen=True)
class SharedLight:
    """name: for people. photo: whose light it is, "" for the mean. code: [A]."""

    name: str
    photo: str
    code: Tensor


@torch.no_grad()
def choose_lights(field: TrainableField, scene: Scene, photos: int) -> list[SharedLight]:
    """The mean, the named lights, then those of at most `photos` fitted photos that lie farthest apart."""
    lights = [SharedLight("mean of all photos", "", field.mean_appearance().cpu())]
    lights += [
        SharedLight(n, p, appearance_code(p, field, scene, 0).cpu())
        for n, p in photos_by_time_of_day(field, scene).items()
    ]
    names = [scene.names[i] for i in scene.indices("train")]
    codes = torch.stack([lights[0].code, *(appearance_code(name, field, scene, 0).cpu() for name in names)])
    apart = [names[row - 1] for row in far_apart(codes.float(), 0, photos + 1)[1:]]
    taken = {light.photo for light in lights}
    return lights + [
        SharedLight(f"photo {n}", n, appearance_code(n, field, scene, 0).cpu()) for n in apart if n not in taken
    ]


@torch.no_grad()
def sky_of(field: TrainableField, views: list[View], up: Tensor, code: Tensor) -> dict[str, Any] | None:
    """The sky's colours at the horizon and high above it, uint8 each, where a light's pictures show one; else None."""
    heights, colours = [], []
    for view in views[:: max(1, len(views) // SKY_VIEWS)]:
        small = view.with_long_side(SKY_SIZE, min_side=2)
        shown = field.render(small, code.to(small.camera_to_world.device))
        clear = shown.opacity < CLEAR
        height = F.normalize(ray_directions(small, pixel_centres(small)), dim=-1) @ up.to(small.camera_to_world)
        heights.append(height[clear].cpu())
        colours.append(shown.colour[clear].cpu())
    height, colour = torch.cat(heights).double(), torch.cat(colours).double()
    if len(height) < SKY_PIXELS:
        return None
    line = torch.linalg.lstsq(torch.stack([torch.ones_like(height), height], dim=1), colour, driver="gelsd").solution
    span = float(height.min()), float(height.max())  # a line says nothing of what nobody saw

    def at(sine: float) -> list[int]:
        sine = float(np.clip(sine, *span))
        return ((line[0] + sine * line[1]).clamp(0, 1) * 255).round().int().tolist()

    return {"low": at(0.0), "high": at(HIGH)}


DARK = (16, 18, 22)  # of the page, where a light has no sky


@torch.no_grad()
def draw_preview(
    splats: Splats, colours: Tensor, view: View, up: Tensor, sky: dict[str, Any] | None, width: int
) -> NDArray[np.uint8]:
    """The view, `width` px wide, uint8 [H, W, 3]. colours: [N, 3] in [0, 1]. sky: as `sky_of` gives it."""
    view = view.resized(width, max(1, round(view.height * width / view.width)))
    shown = rasterise(splats.centres, splats.scales, splats.rotations, splats.opacities, colours, view)
    height = F.normalize(ray_directions(view, pixel_centres(view)), dim=-1) @ up
    low, high = (torch.tensor(sky[part] if sky else DARK) / 255 for part in ("low", "high"))
    air = torch.lerp(low, high, (height / HIGH).clamp(0, 1)[..., None])
    colour = shown.features + (1 - shown.opacity[..., None]) * air
    return (colour.clamp(0, 1) * 255).round().byte().numpy()
