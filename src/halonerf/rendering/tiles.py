"""Whole frames of any size: drawn part after part and a few channels at a time, so that memory stays bounded."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from halonerf.errors import BadInput
from halonerf.protocols import RadianceField
from halonerf.types import Rendering, View

STEP = 16  # px; parts start at multiples of the rasteriser's tiles and of the sky's samples: they then join exactly
FIXED = 8  # numbers a pixel beside channels: colour, depth, opacity, normal
BYTES = 16  # for each number while a part is drawn: sums, the picture, its background, their blend, in float32


@torch.no_grad()
def render_frame(
    field: RadianceField,
    view: View,
    appearance: Tensor,
    channels: Tensor | None = None,
    normals: bool = False,
    memory_mb: float = 512.0,
) -> Rendering:
    """What `field.render` gives, in parts that fit into a memory budget; kept in main memory, without gradients.

    Args:
        appearance: [A]. channels: [E, P]. normals: as in `halonerf.protocols.RadianceField`.
        memory_mb: as in `view_tiles`.
    Raises: BadInput where not even one tile and one channel fit.
    """
    count = 0 if channels is None else channels.shape[1]
    together = min(count, max(_numbers(memory_mb) // STEP**2 - FIXED, 1))
    frame: dict[str, Tensor] = {}
    for part, place in view_tiles(view, FIXED + together, memory_mb):
        for first in range(0, max(count, 1), max(together, 1)):
            given = None if channels is None else channels[:, first : first + together]
            shown = field.render(part, appearance, given, normals and first == 0)
            made = {"colour": shown.colour, "depth": shown.depth, "opacity": shown.opacity, "normals": shown.normals}
            for name, values in made.items() if first == 0 else ():
                if values is not None:
                    _keep(frame, name, (view.height, view.width, *values.shape[2:]), place, values)
            if shown.channels is not None:
                where = (*place, slice(first, first + shown.channels.shape[2]))
                _keep(frame, "channels", (view.height, view.width, count), where, shown.channels)
    return Rendering(**frame)


def view_tiles(view: View, numbers: int, memory_mb: float) -> Iterator[tuple[View, tuple[slice, slice]]]:
    """The view in parts that can be drawn one by one, each with its rows and columns in the whole.

    Args:
        numbers: drawn for each pixel: `FIXED` and the channels.
        memory_mb: MB that drawing a part may take, besides the finished frame, the field, and its list of what is
            drawn where (some dozen bytes for each Gaussian in each 16 x 16 px that it touches).
    Raises: BadInput where not even one tile fits.
    """
    pixels = _numbers(memory_mb) // numbers
    if pixels < STEP**2:
        least = numbers * STEP**2 * BYTES * 1e-6
        raise BadInput(f"expected a memory budget of at least {least:.2f} MB to draw in, got {memory_mb} MB")
    for left, top, width, height in tile_boxes(view.width, view.height, pixels):
        whole = (width, height) == (view.width, view.height)
        part = view if whole else view.cropped(left, top, width, height)
        yield part, (slice(top, top + height), slice(left, left + width))


def tile_boxes(width: int, height: int, pixels: int) -> Iterator[tuple[int, int, int, int]]:
    """Left, top, width and height of parts of a frame, row by row, each of at most `pixels` >= 256 pixels.

    Their corners lie at multiples of `STEP`; the whole frame is one part where it fits.
    """
    if width * height <= pixels:
        columns, rows = width, height
    elif width * STEP <= pixels:
        columns, rows = width, pixels // width // STEP * STEP
    else:
        columns = rows = math.isqrt(pixels) // STEP * STEP
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            yield left, top, min(columns, width - left), min(rows, height - top)


def _numbers(memory_mb: float) -> int:
    return int(memory_mb * 1e6) // BYTES


def _keep(
    frame: dict[str, Tensor], name: str, shape: tuple[int, ...], place: tuple[slice, ...], values: Tensor
) -> None:
    """Copy what was made of a part to its place in the frame."""
    if name not in frame:
        frame[name] = torch.empty(shape)
    frame[name][place] = values.cpu()
