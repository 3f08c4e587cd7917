"""Day, dusk and night: the photos of a collection whose light shows an hour, if there are any.

Cameras brighten what is dark, so a building's own brightness says little of the hour, and a photo's says more of what
is in it. One and the same view is therefore drawn in every photo's light, and its sky and its building are looked at
apart: night is where the sky is dark, dusk where the building is redder than it mostly is.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from halonerf.data.scene.scene import Scene
from halonerf.protocols import TrainableField
from halonerf.types import View
from halonerf.visualization.pictures import REC709, luminance

TIMES_OF_DAY = ("day", "dusk", "night")
USUAL, ODD = 12, 6  # photos whose light is drawn: some taken evenly, and the darkest and the reddest by their pixels
STRIDE = 4  # px; so coarsely photos are read for that
SMALL = 40  # px, long side of the view: means over hundreds of pixels are all that is needed
CANDIDATES, SKY_SHARE = 3, 0.35  # widest photos among which the view is chosen, and how much sky it had best have
LEAST_SKY = 0.05  # of the view; below, there is none
DARK_SKY, DARK_BUILDING = 0.22, 0.13  # luminance (of sRGB values) of night
DARKER = 0.5  # times the median of all photos: night is an exception, or all there is
RED, SPREADS = 0.12, 4.0  # log(red / blue) above the median of dusk, at least; and in median deviations


class SkyBrightness(NamedTuple):
    """What the view is like in one photo's light. bright: of the sky, or of the building where there is none."""

    photo: str
    bright: float
    building: float
    red: float  # log(red / blue) of the building


@torch.no_grad()
def named_lights(field: TrainableField, scene: Scene) -> dict[str, str]:
    """The hours that the collection has, and the photo that shows each best; {} where there is no fitted photo."""
    fitted = scene.indices("train") or list(range(len(scene)))
    if not fitted:
        return {}
    view = _view(field, scene, fitted)
    shown = field.render(view, field.mean_appearance())
    sky = shown.opacity < 0.5
    if sky.float().mean() < LEAST_SKY or sky.all():
        sky = torch.zeros_like(sky)
    looks = []
    for i in _worth_drawing(scene, fitted):
        colour = field.render(view, field.appearance(scene.names[i])).colour
        building = colour[~sky].mean(dim=0).clamp(min=1e-3)
        bright = luminance(colour[sky].mean(dim=0) if sky.any() else building)
        red = math.log(float(building[0] / building[2]))
        looks.append(SkyBrightness(scene.names[i], float(bright), float(luminance(building)), red))
    return times_of_day(looks, bool(sky.any()))


def times_of_day(looks: list[SkyBrightness], sky: bool) -> dict[str, str]:
    """Which photo stands for which hour. sky: whether `bright` is of the sky."""
    limit = DARK_SKY if sky else DARK_BUILDING
    median = float(np.median([look.bright for look in looks]))
    dark = limit if median < limit else min(limit, DARKER * median)
    night = [look for look in looks if look.bright < dark]
    rest = [look for look in looks if look not in night]
    usual = _middle([look.red for look in rest])
    spread = _middle([abs(look.red - usual) for look in rest])
    dusk = [look for look in rest if look.red > usual + max(RED, SPREADS * spread)]
    day = [look for look in rest if look not in dusk]
    found = {}
    if day:
        found["day"] = max(day, key=lambda look: (_typical(look, day), look.photo)).photo
    if dusk:
        found["dusk"] = max(dusk, key=lambda look: (look.red, look.photo)).photo
    if night:
        found["night"] = max(night, key=lambda look: (_typical(look, night), look.photo)).photo
    return found


def _worth_drawing(scene: Scene, photos: list[int]) -> list[int]:
    """All photos of a small collection; of others some that stand for most, and those that could be of an odd hour."""
    if len(photos) <= USUAL + 2 * ODD:
        return photos
    dark, red = {}, {}
    for i in photos:
        colour = scene.photo(i)[::STRIDE, ::STRIDE].float().mean(dim=1) + 1.0  # of each row: the sky is in the upper
        dark[i] = float((colour[: max(1, len(colour) // 3)].mean(dim=0) * colour.new_tensor(REC709)).sum())
        red[i] = float(colour[:, 0].mean() / colour[:, 2].mean())
    odd = {*sorted(photos, key=lambda i: dark[i])[:ODD], *sorted(photos, key=lambda i: -red[i])[:ODD]}
    even = [photos[round(place)] for place in np.linspace(0, len(photos) - 1, USUAL)]
    return sorted({*odd, *even})


def _middle(values: list[float]) -> float:
    """The median, the lower one of two: of few photos, dusk is then the exception, not half of what is usual."""
    return sorted(values)[(len(values) - 1) // 2] if values else 0.0


def _typical(look: SkyBrightness, others: list[SkyBrightness]) -> float:
    """How near it is to the median of the others, at most 0."""
    median = np.median([other[1:] for other in others], axis=0)
    return -float(np.abs(np.array(look[1:]) - median).sum())


def _view(field: TrainableField, scene: Scene, photos: list[int]) -> View:
    """A wide photo's view, small, with as good a share of sky as there is."""
    mean = field.mean_appearance()
    widest = sorted(photos, key=lambda i: -scene.views[i].width * scene.views[i].height / scene.views[i].fx ** 2)
    best: tuple[float, View | None] = (math.inf, None)
    for i in widest[:CANDIDATES]:
        small = scene.views[i].with_long_side(SMALL).to(mean.device)
        share = float((field.render(small, mean).opacity < 0.5).float().mean())
        if abs(share - SKY_SHARE) < best[0]:
            best = (abs(share - SKY_SHARE), small)
    assert best[1] is not None
    return best[1]
