"""Day, dusk and night: the photos of a collection that show a time of day, if there are any.

Cameras expose for the scene, so a building's brightness says little about the time of day, and a photo's brightness
depends on what it shows. One view is therefore rendered with every photo's appearance code, and sky and building are
measured apart: night is where the sky is dark, dusk where the building is redder than in most photos.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from halonerf.data.scene.scene import Scene
from halonerf.protocols import TrainableField
from halonerf.types import View
from halonerf.visualization.pictures import luminance

TIMES_OF_DAY = ("day", "dusk", "night")
EVEN_PHOTOS, EXTREME_PHOTOS = 12, 6  # that are rendered: evenly spaced ones; the darkest and the reddest by pixels
STRIDE_PX = 4  # at which photos are sampled to find the extreme ones
VIEW_PX = 40  # long side of the rendered view: means over hundreds of pixels suffice
CANDIDATES, SKY_SHARE = 3, 0.35  # widest photos among which the view is chosen, and the share of sky it should have
MIN_SKY_SHARE = 0.05  # of the view; below, there is no sky
DARK_SKY, DARK_BUILDING = 0.22, 0.13  # luminance (of sRGB values) of night
NIGHT_TO_MEDIAN = 0.5  # largest luminance of night in medians of all photos: night is an exception, or all there is
MIN_REDNESS, MIN_DEVIATIONS = 0.12, 4.0  # of dusk: log(red / blue) above the median; the same in median deviations


class ViewStatistics(NamedTuple):
    """Colours of the view with one photo's appearance code, from sRGB values in [0, 1].

    brightness: luminance of the sky, or of the building where there is no sky. building: luminance of the building.
    redness: log(red / blue) of the building.
    """

    photo: str
    brightness: float
    building: float
    redness: float


@torch.no_grad()
def photos_by_time_of_day(field: TrainableField, scene: Scene) -> dict[str, str]:
    """The times of day that the collection shows, each with its most typical photo; {} without fitted photos."""
    fitted = scene.indices("train") or list(range(len(scene)))
    if not fitted:
        return {}
    view = _choose_view(field, scene, fitted)
    rendering = field.render(view, field.mean_appearance())
    sky = rendering.opacity < 0.5
    if sky.float().mean() < MIN_SKY_SHARE or sky.all():
        sky = torch.zeros_like(sky)
    statistics = []
    for i in _choose_photos(scene, fitted):
        colour = field.render(view, field.appearance(scene.names[i])).colour
        building = colour[~sky].mean(dim=0).clamp(min=1e-3)
        brightness = luminance(colour[sky].mean(dim=0) if sky.any() else building)
        redness = math.log(float(building[0] / building[2]))
        statistics.append(ViewStatistics(scene.names[i], float(brightness), float(luminance(building)), redness))
    return classify_times_of_day(statistics, bool(sky.any()))


def classify_times_of_day(photos: list[ViewStatistics], sky: bool) -> dict[str, str]:
    """The photo that stands for each time of day. sky: whether `brightness` is that of the sky."""
    limit = DARK_SKY if sky else DARK_BUILDING
    median = float(np.median([photo.brightness for photo in photos]))
    dark = limit if median < limit else min(limit, NIGHT_TO_MEDIAN * median)
    night = [photo for photo in photos if photo.brightness < dark]
    rest = [photo for photo in photos if photo not in night]
    usual = _lower_median([photo.redness for photo in rest])
    deviation = _lower_median([abs(photo.redness - usual) for photo in rest])
    dusk = [photo for photo in rest if photo.redness > usual + max(MIN_REDNESS, MIN_DEVIATIONS * deviation)]
    day = [photo for photo in rest if photo not in dusk]
    found = {}
    if day:
        found["day"] = max(day, key=lambda photo: (_typicality(photo, day), photo.photo)).photo
    if dusk:
        found["dusk"] = max(dusk, key=lambda photo: (photo.redness, photo.photo)).photo
    if night:
        found["night"] = max(night, key=lambda photo: (_typicality(photo, night), photo.photo)).photo
    return found


def _choose_photos(scene: Scene, photos: list[int]) -> list[int]:
    """All photos of a small collection; of a larger one evenly spaced ones, the darkest and the reddest."""
    if len(photos) <= EVEN_PHOTOS + 2 * EXTREME_PHOTOS:
        return photos
    brightness, redness = {}, {}
    for i in photos:
        rows = (
            scene.photo(i)[::STRIDE_PX, ::STRIDE_PX].float().mean(dim=1) + 1.0
        )  # [H, 3]; the sky is in the upper ones
        brightness[i] = float(luminance(rows[: max(1, len(rows) // 3)].mean(dim=0)))
        redness[i] = float(rows[:, 0].mean() / rows[:, 2].mean())
    darkest = sorted(photos, key=lambda i: brightness[i])[:EXTREME_PHOTOS]
    reddest = sorted(photos, key=lambda i: -redness[i])[:EXTREME_PHOTOS]
    even = [photos[round(place)] for place in np.linspace(0, len(photos) - 1, EVEN_PHOTOS)]
    return sorted({*darkest, *reddest, *even})


def _lower_median(values: list[float]) -> float:
    """The median, the lower of the middle two: among few photos, dusk is then the exception, not half of the usual."""
    return sorted(values)[(len(values) - 1) // 2] if values else 0.0


def _typicality(photo: ViewStatistics, others: list[ViewStatistics]) -> float:
    """Minus the L1 distance to the median of `others`, at most 0."""
    median = np.median([other[1:] for other in others], axis=0)
    return -float(np.abs(np.array(photo[1:]) - median).sum())


def _choose_view(field: TrainableField, scene: Scene, photos: list[int]) -> View:
    """The small view of a wide photo whose share of sky is nearest to `SKY_SHARE`."""
    mean = field.mean_appearance()
    widest = sorted(photos, key=lambda i: -scene.views[i].width * scene.views[i].height / scene.views[i].fx ** 2)
    best: tuple[float, View | None] = (math.inf, None)
    for i in widest[:CANDIDATES]:
        small = scene.views[i].with_long_side(VIEW_PX).to(mean.device)
        share = float((field.render(small, mean).opacity < 0.5).float().mean())
        if abs(share - SKY_SHARE) < best[0]:
            best = (abs(share - SKY_SHARE), small)
    assert best[1] is not None
    return best[1]
