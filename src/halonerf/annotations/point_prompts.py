"""Annotations as point prompts of an interactive segmenter, such as SAM."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from halonerf.annotations.annotation import Annotation

OWN_POINTS = 5  # of an annotation at most: SAM was trained with up to 11 points an object
NEGATIVE_POINTS = 6  # of an object at most, the nearest ones


def prompt_points(annotation: Annotation, region: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Points [P, 2] that stand for an annotation: (x, y), px of the picture; none outside it.

    Of a "point" its own, at most `OWN_POINTS`, evenly chosen; of a "stroke" as many, evenly along it; of a "polygon"
    the one farthest from its border.

    Args:
        region: pixels [H, W] of the annotation (`drawn_region`).
    """
    height, width = region.shape
    if annotation.tool == "polygon":
        inside = distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
        row, column = np.unravel_index(inside.argmax(), inside.shape)
        return np.array([(column + 0.5, row + 0.5)] if region.any() else []).reshape(-1, 2)
    points = np.array(annotation.points) * (width, height)
    if annotation.tool == "stroke":
        points = _along(points, OWN_POINTS)
    points = points[np.linspace(0, len(points) - 1, min(len(points), OWN_POINTS)).round().astype(int)]
    return points[((points >= 0) & (points < (width, height))).all(axis=1)]


def point_prompts(
    annotations: Sequence[Annotation],
    regions: Sequence[NDArray[np.bool_]],
    positive_pixels: NDArray[np.bool_],
    negative_pixels: NDArray[np.bool_],
) -> list[tuple[NDArray[np.float64], NDArray[np.bool_]] | None]:
    """The prompts of each annotation that snaps to the mask of an object, None for the others.

    Prompts are points [P, 2] (x, y), px, and whether they lie on the object, [P]: first those of the annotation, then
    those of the nearest negative annotations. Points that a later annotation gives the other sign are no prompts; None
    where no positive one is left.

    Args:
        annotations: of one concept on one photo.
        regions: pixels [H, W] of each.
        positive_pixels, negative_pixels: [H, W], annotated as such in the end.
    """
    points = [
        _without(prompt_points(entry, region), negative_pixels if entry.positive else positive_pixels)
        for entry, region in zip(annotations, regions, strict=True)
    ]
    negative = np.concatenate(
        [np.empty((0, 2)), *(p for entry, p in zip(annotations, points, strict=True) if not entry.positive)]
    )
    return [
        _with_nearest(own, negative) if entry.snap == "sam" and len(own) else None
        for entry, own in zip(annotations, points, strict=True)
    ]


def _without(points: NDArray[np.float64], opposite: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The points whose pixels are not of the opposite sign; a thin stroke need not fill the pixels along its middle."""
    columns, rows = np.floor(points).astype(int).T
    return points[~opposite[rows, columns]]


def _with_nearest(
    own: NDArray[np.float64], negative: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    distance = np.linalg.norm(negative[:, None] - own, axis=-1).min(axis=1)
    nearest = negative[np.argsort(distance, kind="stable")[:NEGATIVE_POINTS]]
    return np.concatenate([own, nearest]), np.repeat([True, False], [len(own), len(nearest)])


def _along(points: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Points [count, 2] in the middles of `count` equal pieces of a line through points [P, 2].

    One point where the line has no length.
    """
    ends = np.concatenate([[0.0], np.linalg.norm(np.diff(points, axis=0), axis=1).cumsum()])
    if ends[-1] == 0:
        return points[:1]
    middles = (np.arange(count) + 0.5) / count * ends[-1]
    return np.stack([np.interp(middles, ends, points[:, k]) for k in range(2)], axis=1)
