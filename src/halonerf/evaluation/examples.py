"""Which photos show what a figure means, and how they are drawn: the best, the median and the worst of each concept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from halonerf.data.scene.scene import Scene
from halonerf.evaluation.protocol import at_size
from halonerf.visualization.html_pages import TITLE_HEIGHT, labelled_strip
from halonerf.visualization.pictures import outline, overlay

BACKGROUND, INK = (24, 26, 31), (239, 138, 107)


def picks(photos: Sequence[Mapping[str, Any]], concept: str) -> list[tuple[str, int]]:
    """The best, the median and the worst of `photos` by average precision in 3D: what it is, and its index.

    Photos without that figure are left out; of two photos there is no median, of one only the best. Of equals the
    first is taken; of an even number the median is the better one of the middle two.

    Args:
        photos: what `Evaluate` wrote for each.
    """
    scored = {
        i: photo["concepts"][concept]["3d"]["ap"] for i, photo in enumerate(photos) if concept in photo["concepts"]
    }
    ranked = sorted((i for i, ap in scored.items() if ap is not None), key=lambda i: (-scored[i], i))
    count = len(ranked)
    places = (
        {"best": 0} | ({"median": (count - 1) // 2} if count > 2 else {}) | ({"worst": count - 1} if count > 1 else {})
    )
    return [(f"{rank} of {count}", ranked[place]) for rank, place in places.items() if ranked]


def strip(
    scene: Scene,
    item: int,
    render: NDArray[np.uint8] | None,
    truth: NDArray[np.bool_],
    maps: Mapping[str, NDArray[np.floating] | None],
    segmented: bool,
) -> NDArray[np.uint8]:
    """Photo, render, map in 2D, map in 3D and truth side by side; the truth's border is drawn on the maps.

    Args:
        item: the view. render: the field's colours in that view, [H, W, 3].
        truth: [H, W], at any resolution of the view's frame. maps: "2d" and "3d", [h, w] in [0, 1].
        segmented: whether the photo has 2D maps at all.
    """
    view, photo = scene.views[item], scene.photo(item).numpy()
    mask = at_size(truth.astype(np.float32), (view.height, view.width)) >= 0.5
    panels: list[tuple[str, NDArray[np.uint8] | None]] = [("photo", photo), ("render", render)]
    for method, title in (("2d", "2D map" if segmented else "not segmented"), ("3d", "3D map")):
        drawn = maps[method]
        lit = None if drawn is None else overlay(photo, at_size(drawn, mask.shape))
        panels.append((title, None if lit is None else outline(lit, mask)))
    panels.append(("truth", outline(overlay(photo, mask.astype(np.float32)), mask)))
    return labelled_strip(panels, (view.width, view.height))


def stacked(strips: Sequence[tuple[str, NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    """Strips of one width below one another, each under its title."""
    height = sum(picture.shape[0] + TITLE_HEIGHT for _, picture in strips)
    sheet = Image.new("RGB", (strips[0][1].shape[1], height), BACKGROUND)
    draw, font, top = ImageDraw.Draw(sheet), ImageFont.load_default(14), 0
    for title, picture in strips:
        draw.text((6, top + 3), title, fill=INK, font=font)
        sheet.paste(Image.fromarray(picture), (0, top + TITLE_HEIGHT))
        top += TITLE_HEIGHT + picture.shape[0]
    return np.asarray(sheet)
