"""Annotations as regions of pixels: what is annotated as a concept, and what as something else."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from halonerf.annotations.annotation import Annotation

OVERSAMPLING = 4  # of the drawn shape along each side, so that thin strokes keep their width


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
    annotations: Iterable[Annotation], width: int, height: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The pixels annotated as positive and as negative, bool [height, width] each.

    Annotations of one concept on one photo, in order: where they overlap, the last one counts.
    """
    positive, negative = (np.zeros((height, width), bool) for _ in range(2))
    for annotation in annotations:
        region = drawn_region(annotation, width, height)
        positive[region], negative[region] = annotation.positive, not annotation.positive
    return positive, negative
