"""Annotations as regions of pixels: what is annotated as a concept, and what as something else."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from halonerf.annotations.annotation import Annotation
from halonerf.annotations.superpixels import superpixels

OVERSAMPLING = 4  # of the drawn shape along each side, so that thin strokes keep their width
SNAP_SHARE = 0.25  # of a superpixel, from which a region snaps to it


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
    annotations: Iterable[Annotation], width: int, height: int, picture: Callable[[], NDArray[np.uint8]] | None = None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The pixels annotated as positive and as negative, bool [height, width] each.

    Annotations of one concept on one picture, in order: where they overlap, the last one counts, and what was drawn
    counts before what was only snapped to.

    Args:
        picture: called for the photo, [height, width, 3], where an annotation snaps to its superpixels; without one,
            none does.
    """
    entries = [(entry, drawn_region(entry, width, height)) for entry in annotations]
    positive, negative = (np.zeros((height, width), bool) for _ in range(2))
    if picture is not None and any(entry.snap for entry, _ in entries):
        labels = superpixels(picture())
        for entry, region in entries:
            if entry.snap:
                snapped = snapped_region(region, labels)
                positive[snapped], negative[snapped] = entry.positive, not entry.positive
    for entry, region in entries:
        positive[region], negative[region] = entry.positive, not entry.positive
    return positive, negative


def snapped_region(region: NDArray[np.bool_], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The superpixels, numbered by `labels` [H, W], of which a region [H, W] fills at least `SNAP_SHARE`."""
    sizes = np.bincount(labels.ravel())
    filled = np.bincount(labels.ravel(), weights=region.ravel(), minlength=len(sizes))
    chosen: NDArray[np.bool_] = (filled >= SNAP_SHARE * np.maximum(sizes, 1))[labels]
    return chosen
