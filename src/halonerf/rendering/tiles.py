"""Frames of any size within a memory budget: rendered in tiles, and a few channels at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from halonerf.errors import BadInput
from halonerf.protocols import RadianceField
from halonerf.types import Rendering, View

STEP_PX = 16  # parts start at multiples of the rasteriser's tiles and of the sky's samples: they then join exactly
BASE_CHANNELS = 8  # numbers per pixel besides the given channels: colour, depth, opacity, normal
BYTES_PER_NUMBER = 16  # while a part is rendered: sums, the picture, its background, their blend, in float32


@torch.no_grad()
def render_frame(
    field: RadianceField,
    view: View,
    appearance: Tensor,
    channels: Tensor | None = None,
    normals: bool = False,
    memory_mb: float = 512.0,
) -> Rendering:
    """The result of `field.render`, computed in parts within a memory budget; in main memory, without gradients.

    Args:
        appearance: [A]. channels: [E, P]. normals: as in `halonerf.protocols.RadianceField`.
        memory_mb: as in `view_tiles`.

    Raises: BadInput where one tile with one channel does not fit.
    """
    count = 0 if channels is None else channels.shape[1]
    group = min(count, max(_numbers_within(memory_mb) // STEP_PX**2 - BASE_CHANNELS, 1))
    frame: dict[str, Tensor] = {}
    for part, place in view_tiles(view, BASE_CHANNELS + group, memory_mb):
        for first in range(0, max(count, 1), max(group, 1)):
            selected = None if channels is None else channels[:, first : first + group]
            rendering = field.render(part, appearance, selected, normals and first == 0)
            for name in ("colour", "depth", "opacity", "normals") if first == 0 else ():
                if (values := getattr(rendering, name)) is not None:
                    _store(frame, name, (view.height, view.width, *values.shape[2:]), place, values)
            if rendering.channels is not None:
                where = (*place, slice(first, first + rendering.channels.shape[2]))
                _store(frame, "channels", (view.height, view.width, count), where, rendering.channels)
    return Rendering(**frame)


def view_tiles(view: View, numbers: int, memory_mb: float) -> Iterator[tuple[View, tuple[slice, slice]]]:
    """The parts of a view that are rendered one by one, each with its rows and columns in the view.

    Args:
        numbers: computed per pixel: `BASE_CHANNELS` and the channels.
        memory_mb: MB that rendering a part may take, besides the finished frame, the field, and the field's list of
            Gaussians per tile (some dozen bytes for each Gaussian in each 16 x 16 px that it touches).

    Raises: BadInput where one tile does not fit.
    """
    pixels = _numbers_within(memory_mb) // numbers
    if pixels < STEP_PX**2:
        least_mb = numbers * STEP_PX**2 * BYTES_PER_NUMBER * 1e-6
        raise BadInput(f"expected a memory budget of at least {least_mb:.2f} MB for rendering, got {memory_mb} MB")
    for left, top, width, height in tile_boxes(view.width, view.height, pixels):
        whole = (width, height) == (view.width, view.height)
        part = view if whole else view.cropped(left, top, width, height)
        yield part, (slice(top, top + height), slice(left, left + width))


def tile_boxes(width: int, height: int, pixels: int) -> Iterator[tuple[int, int, int, int]]:
    """Left, top, width and height, px, of the parts of a frame, row by row, each of at most `pixels` >= 256 pixels.

    Their corners lie at multiples of `STEP_PX`; the whole frame is one part where it fits.
    """
    if width * height <= pixels:
        columns, rows = width, height
    elif width * STEP_PX <= pixels:
        columns, rows = width, pixels // width // STEP_PX * STEP_PX
    else:
        columns = rows = math.isqrt(pixels) // STEP_PX * STEP_PX
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            yield left, top, min(columns, width - left), min(rows, height - top)


def _numbers_within(memory_mb: float) -> int:
    return int(memory_mb * 1e6) // BYTES_PER_NUMBER


def _store(
    frame: dict[str, Tensor], name: str, shape: tuple[int, ...], place: tuple[slice, ...], values: Tensor
) -> None:
    """Copy the values of a part to their place in the frame."""
    if name not in frame:
        frame[name] = torch.empty(shape)
    frame[name][place] = values.cpu()
