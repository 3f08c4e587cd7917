"""What a shared page shows first, as a picture: its Gaussians before its sky."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from halonerf.geometry import pixel_centres, ray_directions
from halonerf.splatting.rasterise import rasterise
from halonerf.stages.share_lights import HIGH
from halonerf.types import Splats, View

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
