"""Example photos of an evaluation: the best, the median and the worst of each concept, with their maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from halonerf.data.scene.scene import Scene
from halonerf.evaluation.protocol import resized_map
from halonerf.masks import resized_mask
from halonerf.visualization.html_pages import TITLE_HEIGHT, labelled_strip
from halonerf.visualization.pictures import outline, overlay

BACKGROUND, INK = (24, 26, 31), (239, 138, 107)


def select_examples(photos: Sequence[Mapping[str, Any]], concept: str) -> list[tuple[str, int]]:
    """The best, the median and the worst of `photos` by average precision in 3D: rank as text, and index.

    Photos without average precision are left out; two photos have no median, a single one is the best. Of equal photos
    the first is taken; of an even number the median is the better of the middle two.

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


def example_strip(
    scene: Scene,
    view: int,
    render: NDArray[np.uint8] | None,
    truth: NDArray[np.bool_],
    maps: Mapping[str, NDArray[np.floating] | None],
    segmented: bool,
) -> NDArray[np.uint8]:
    """Photo, rendering, 2D map, 3D map and ground truth side by side, uint8 [h, w, 3], the mask outlined on the maps.

    Args:
        view: index in the scene.
        render: the field's colours in that view, uint8 [H, W, 3].
        truth: the mask, [H, W], at any resolution of the view's frame.
        maps: "2d" and "3d", [h, w] in [0, 1].
        segmented: whether the photo was segmented in 2D.
    """
    photo = scene.photo(view).numpy()
    methods = {"2D map" if segmented else "not segmented": maps["2d"], "3D map": maps["3d"]}
    return map_strip(photo, {"rendering": render}, methods, truth)


def map_strip(
    photo: NDArray[np.uint8],
    pictures: Mapping[str, NDArray[np.uint8] | None],
    maps: Mapping[str, NDArray[np.floating] | None],
    truth: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    """Photo, further pictures, maps of one concept and its ground truth side by side, uint8 [h, w, 3].

    Args:
        photo: uint8 [H, W, 3].
        pictures: uint8 [H, W, 3] by title; None leaves the panel empty.
        maps: [h, w] in [0, 1] by title, shown over the photo with the mask outlined; None leaves the panel empty.
        truth: the mask, [h, w], at any resolution.
    """
    height, width = photo.shape[:2]
    mask = resized_mask(truth, height, width)
    panels: list[tuple[str, NDArray[np.uint8] | None]] = [("photo", photo), *pictures.items()]
    for title, probability in maps.items():
        picture = None
        if probability is not None:
            picture = outline(overlay(photo, resized_map(probability, (height, width))), mask)
        panels.append((title, picture))
    panels.append(("ground truth", outline(overlay(photo, mask.astype(np.float32)), mask)))
    return labelled_strip(panels, (width, height))


def stack_strips(strips: Sequence[tuple[str, NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    """Strips of one width, each under its title, one below the other, uint8 [H, W, 3]."""
    height = sum(picture.shape[0] + TITLE_HEIGHT for _, picture in strips)
    sheet = Image.new("RGB", (strips[0][1].shape[1], height), BACKGROUND)
    draw, font, top = ImageDraw.Draw(sheet), ImageFont.load_default(14), 0
    for title, picture in strips:
        draw.text((6, top + 3), title, fill=INK, font=font)
        sheet.paste(Image.fromarray(picture), (0, top + TITLE_HEIGHT))
        top += TITLE_HEIGHT + picture.shape[0]
    return np.asarray(sheet)
