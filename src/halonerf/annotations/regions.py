"""Annotations as regions of pixels: what is annotated as a concept, and what as something else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from halonerf.annotations.annotation import Annotation
from halonerf.annotations.point_prompts import point_prompts
from halonerf.annotations.superpixels import superpixels
from halonerf.errors import BadInput
from halonerf.protocols import InteractiveSegmenter

OVERSAMPLING = 4  # of the drawn shape along each side, so that thin strokes keep their width
SNAP_SHARE = 0.25  # of a superpixel, from which a region snaps to it
USE_SAM = "Switch it on: interactive_segmenter=sam interactive_segmenter.weights=DIR (a folder of weights, or a hub id)"


def drawn_region(annotation: Annotation, width: int, height: int) -> NDArray[np.bool_]:
    """The pixels [height, width] of which an annotation covers at least half, and those under its points."""
    scale = np.array([width, height]) * OVERSAMPLING
    points = [(float(x), float(y)) for x, y in np.array(annotation.points) * scale]
    canvas = Image.new("L", (width * OVERSAMPLING, height * OVERSAMPLING))
    draw = ImageDraw.Draw(canvas)
    if annotation.tool == "polygon" and len(points) > 2:
        draw.polygon(points, fill=255)
    else:
        radius = annotation.radius * float(scale.max())
        if annotation.tool != "point" and len(points) > 1:
            closed = [*points, points[0]] if annotation.tool == "polygon" else points
            draw.line(closed, fill=255, width=max(1, round(2 * radius)))
        for x, y in points:
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=255)
    covered = np.asarray(canvas.resize((width, height), Image.Resampling.BOX)) >= 128
    for x, y in annotation.points:
        column, row = int(np.floor(x * width)), int(np.floor(y * height))
        if annotation.tool != "polygon" and 0 <= column < width and 0 <= row < height:
            covered[row, column] = True
    return covered


def annotated_regions(
    annotations: Iterable[Annotation],
    width: int,
    height: int,
    picture: Callable[[], NDArray[np.uint8]] | None = None,
    interactive_segmenter: InteractiveSegmenter | None = None,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The pixels annotated as positive and as negative, bool [height, width] each.

    Annotations of one concept on one picture, in order: where they overlap, the last one counts, and what was drawn
    counts before what was only snapped to.

    Args:
        picture: called for the photo, [height, width, 3], where an annotation snaps; without one, none does.
        interactive_segmenter: gives the masks that annotations with snap "sam" are extended to; without one, these
            count as drawn.
    """
    entries = list(annotations)
    drawn = [(entry.positive, drawn_region(entry, width, height)) for entry in entries]
    snapped: list[tuple[bool, NDArray[np.bool_]]] = []
    if picture is not None:
        regions = [region for _, region in drawn]
        signs = _painted(drawn, width, height)
        snapped = [
            (entry.positive, region)
            for entry, region in zip(
                entries, _snapped(entries, regions, signs, picture, interactive_segmenter), strict=True
            )
            if region is not None
        ]
    return _painted([*snapped, *drawn], width, height)


def require_interactive_segmenter(
    annotations: Iterable[Annotation], interactive_segmenter: InteractiveSegmenter | None
) -> None:
    """Raises: BadInput: an annotation snaps to what SAM finds, and there is no interactive segmenter."""
    count = sum(entry.snap == "sam" for entry in annotations)
    if count and interactive_segmenter is None:
        which = f'{count} annotation{"s" * (count > 1)} with snap "sam"'
        raise BadInput(f"expected SAM for {which}, and it is switched off.\n{USE_SAM}")


def _painted(
    layers: Iterable[tuple[bool, NDArray[np.bool_]]], width: int, height: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The pixels [height, width] whose last layer is positive, and those where it is negative."""
    positive, negative = (np.zeros((height, width), bool) for _ in range(2))
    for sign, region in layers:
        positive[region], negative[region] = sign, not sign
    return positive, negative


def _snapped(
    entries: Sequence[Annotation],
    regions: Sequence[NDArray[np.bool_]],
    signs: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    picture: Callable[[], NDArray[np.uint8]],
    interactive_segmenter: InteractiveSegmenter | None,
) -> list[NDArray[np.bool_] | None]:
    """What each annotation snaps to, [H, W]; None for nothing. signs: positive and negative pixels, [H, W] each."""
    found: list[NDArray[np.bool_] | None] = [None] * len(entries)
    if to_superpixels := [k for k, entry in enumerate(entries) if entry.snap == "superpixels"]:
        labels = superpixels(picture())
        for k in to_superpixels:
            found[k] = snapped_region(regions[k], labels)
    if interactive_segmenter is not None and any(entry.snap == "sam" for entry in entries):
        prompts = point_prompts(entries, regions, *signs)
        to_masks = {k: prompt for k, prompt in enumerate(prompts) if prompt is not None}
        if to_masks:
            points, labels_of = zip(*to_masks.values(), strict=True)
            for k, mask in zip(to_masks, interactive_segmenter.masks(picture(), points, labels_of), strict=True):
                found[k] = mask
    return found


def snapped_region(region: NDArray[np.bool_], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The superpixels, numbered by `labels` [H, W], of which a region [H, W] fills at least `SNAP_SHARE`."""
    sizes = np.bincount(labels.ravel())
    filled = np.bincount(labels.ravel(), weights=region.ravel(), minlength=len(sizes))
    chosen: NDArray[np.bool_] = (filled >= SNAP_SHARE * np.maximum(sizes, 1))[labels]
    return chosen
