"""Masks read from pictures of any kind that has two values, and turned into the frame of their photo.

What is marked, in this order:

opacity     Where an alpha channel varies, what is opaque (more than half of its own range); but the colours of the
            opaque part decide where these are two, one of them black.
indices     Of a palette with colours, by number: 0 is the background, 255 is "void" (PASCAL VOC) and not marked, any
            other is. A palette of greys counts as grey.
numbers     Grey integers up to 20, and 255: class numbers as in PASCAL VOC; 0 or the lower of two is the background,
            255 beside such numbers is "void" and not marked.
colours     What differs from the background, which is black, else white, else the darker of two colours.
grey        What is nearer to the lightest than to the darkest value, whatever they are: 0 and 1, 0 and 38, 0 and 65535,
            0.0 and 1.0; edges may be antialiased. One value alone is marked unless it is dark.
            Floats that are no numbers are not marked.

Two classes beside the background, or areas of a third tone, are refused: a mask is of one concept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import maximum_filter, minimum_filter

from halonerf.errors import BadInput
from halonerf.picture_files import UnreadablePicture, has_opacity, load_picture, oriented, swaps_sides

ASPECT_TOLERANCE = 0.02  # relative; a mask scaled to whole pixels from a photo of 100 px is off by at most 1 %
CLASSES, VOID = 20, 255  # PASCAL VOC's classes are 1 to 20, and 255 is what was left open
AREA = 9  # px; a square of one tone between the two is a third class and not an edge
DARK, LIGHT = 32, 200  # of 255; an even mask is empty below, nothing but marked above, whatever noise it has
MIN_SHARE = 0.01  # of the pixels that must be near a colour for it to be the background

Mask = NDArray[np.bool_]


def read_mask(
    path: Path, photo_size: tuple[int, int] | None = None, dark: bool = False, photo_orientation: int = 1
) -> Mask:
    """The mask in a picture file, bool [h, w], as its viewers show it: turned by its own EXIF orientation.

    Args:
        photo_size: (width, height) of the photo as the scene uses it; None: any aspect.
        dark: whether dark on white is the concept: 1 - L / 255 > 0.5, as in HaLo-NeRF's evaluation; transparent pixels
            are white. Else see the module.
        photo_orientation: EXIF orientation of a photo that the scene uses as it is stored, as COLMAP does. The mask is
            turned like the stored photo, unless its aspect says that it was drawn on the stored pixels.

    Raises: BadInput for an unreadable picture, one of more than two classes, or an aspect other than that of
        `photo_size`.
    """
    try:
        picture, orientation = load_picture(path)
        mask = _dark_on_white(picture) if dark else _marked(picture)
    except FileNotFoundError as error:
        raise BadInput(f"expected a picture of a mask at {path}, found none.") from error
    except (UnreadablePicture, PermissionError) as error:
        raise BadInput(f"expected a picture of a mask at {path}, but it cannot be read: {error}.") from error
    except _ManyClasses as error:
        raise BadInput(
            f"expected a mask of two values, the concept and the rest, at {path}, got {error}.\n"
            "Save one mask for each concept; photos with a class number per pixel are read with: scene=facades"
        ) from error
    return framed_mask(oriented(mask, orientation), path, photo_size, photo_orientation)


def framed_mask(
    mask: NDArray[Any], source: object, photo_size: tuple[int, int] | None, photo_orientation: int
) -> NDArray[Any]:
    """A mask [h, w] as shown, in the frame of a photo that the scene uses as it is stored; see `read_mask`.

    source: where the mask is from, for the message.

    Raises: BadInput for an aspect that is neither the upright nor the stored photo's.
    """
    if photo_size is None:
        return mask if photo_orientation == 1 else oriented(mask, photo_orientation, back=True)
    width, height = photo_size
    shown = (height, width) if swaps_sides(photo_orientation) else (width, height)
    if _same_aspect(mask, shown):
        return oriented(mask, photo_orientation, back=True)
    if _same_aspect(mask, photo_size):
        return mask
    raise BadInput(
        f"expected a mask drawn on the upright photo of {shown[0]} x {shown[1]} px (any size of that "
        f"aspect), got {mask.shape[1]} x {mask.shape[0]} px in {source}.\n"
        "Export the mask again, turned as the photo is shown."
    )


def resized_mask(mask: Mask, height: int, width: int) -> Mask:
    """A mask [h, w] resized to [height, width] by nearest neighbour."""
    rows = ((np.arange(height) + 0.5) * mask.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * mask.shape[1] / width).astype(int)
    return mask[rows[:, None], columns]


class _ManyClasses(Exception):
    """More than two classes; the text says which."""


def _same_aspect(mask: NDArray[Any], size: tuple[int, int]) -> bool:
    height, width = mask.shape
    return abs(width * size[1] / (height * size[0]) - 1.0) <= ASPECT_TOLERANCE


def _dark_on_white(picture: Image.Image) -> Mask:
    paper = Image.new("RGBA", picture.size, "white")
    grey = np.asarray(Image.alpha_composite(paper, picture.convert("RGBA")).convert("L"))
    return 255 - grey >= 128


def _marked(picture: Image.Image) -> Mask:
    """Raises: _ManyClasses, UnreadablePicture."""
    if has_opacity(picture):
        rgba = np.asarray(picture.convert("RGBA"))
        alpha, colours = rgba[..., 3], rgba[..., :3]
        if alpha.min() != alpha.max():
            opaque = _two_tones(alpha, "opacities")
            return opaque & _colours_of_opaque(colours, opaque)
        if picture.mode != "P":
            return _of_colours(colours)
    if picture.mode == "P":
        palette = np.asarray(picture.convert("RGB"))
        if not _is_grey(palette):
            return _of_classes(np.asarray(picture), "palette indices")
        return _of_grey(palette[..., 0], lossy=False)
    if picture.mode == "F":
        values = np.asarray(picture, np.float32)
        known = np.isfinite(values)
        if not known.any():
            raise UnreadablePicture("its values are not numbers")
        lowest = min(0.0, float(values[known].min())) if np.ptp(values[known]) == 0 else float(values[known].min())
        return known & _of_grey(np.where(known, values, np.float32(lowest)), lossy=False)
    lossy = picture.format in ("JPEG", "MPO", "WEBP", "AVIF", "JPEG2000")
    if picture.mode in ("1", "L") or picture.mode.startswith("I"):
        values = np.asarray(picture)
        return _of_grey(values.astype(np.uint8) * VOID if values.dtype == bool else values, lossy)
    colours = np.asarray(picture.convert("RGB"))
    return _of_grey(colours[..., 0], lossy) if _is_grey(colours) else _of_colours(colours)


def _colours_of_opaque(colours: NDArray[np.uint8], opaque: Mask) -> Mask:
    """What the colours mark of the opaque part: all of it, unless they are two, one of them black."""
    visible = _largest(colours[opaque])
    black, light = visible < DARK, visible >= 128
    if not black.any() or not light.any() or black.mean() + light.mean() < 1 - MIN_SHARE:
        return np.ones_like(opaque)
    try:
        return _of_colours(np.where(opaque[..., None], colours, 0))
    except _ManyClasses:
        return np.ones_like(opaque)  # a photo whose surroundings were made transparent


def _is_grey(colours: NDArray[np.uint8]) -> bool:
    """Whether no pixel [H, W, 3] has a colour beyond what lossy formats add."""
    return int((_largest(colours) - _smallest(colours)).max(initial=0)) <= 12


def _largest(colours: NDArray[Any]) -> NDArray[Any]:
    """Largest of three channels; NumPy reduces a short last axis slowly."""
    return np.maximum(np.maximum(colours[..., 0], colours[..., 1]), colours[..., 2])


def _smallest(colours: NDArray[Any]) -> NDArray[Any]:
    return np.minimum(np.minimum(colours[..., 0], colours[..., 1]), colours[..., 2])


def _away(colours: NDArray[np.uint8], colour: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Largest difference in a channel from a colour [3]."""
    return _largest(np.maximum(colours, colour) - np.minimum(colours, colour))


def _numbered(colours: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Colours as numbers 0xRRGGBB."""
    red, green, blue = (colours[..., channel].astype(np.int32) for channel in range(3))
    return red << 16 | green << 8 | blue


def _of_classes(numbers: NDArray[Any], what: str) -> Mask:
    """Pixels of the one class beside the background, of class numbers [H, W]."""
    found = _distinct(numbers)
    classes = [number for number in found if number not in (0, VOID)]
    if not classes:
        return numbers == VOID if 0 in found else np.full(numbers.shape, bool(found))
    if len(classes) == 2 and len(found) == 2:
        return numbers == classes[1]
    if len(classes) > 1:
        some = ", ".join(map(str, classes[:8])) + (", …" if len(classes) > 8 else "")
        raise _ManyClasses(f"{len(classes)} {what} beside 0 (background) and 255 (void): {some}")
    return numbers == classes[0]


def _of_grey(values: NDArray[Any], lossy: bool) -> Mask:
    """The marked pixels of grey values [H, W] of any type."""
    low, high = values.min(), values.max()
    if np.issubdtype(values.dtype, np.integer):
        if not lossy and low >= 0 and _are_classes(values):
            return _of_classes(values, "class numbers")
        full = 255 if high <= 255 else 65535
        if low >= LIGHT / 255 * full:
            return np.ones(values.shape, bool)
        if lossy and high < DARK:
            return np.zeros(values.shape, bool)
    if low == high:
        return np.full(values.shape, bool(high >= (0.5 if np.issubdtype(values.dtype, np.floating) else 128)))
    return _two_tones(values, "grey values")


def _are_classes(values: NDArray[Any]) -> bool:
    """Whether grey integers are PASCAL VOC's numbers, with one of its classes; 0 and 255 alone are black and white."""
    found = set(_distinct(values))
    return all(value <= CLASSES or value == VOID for value in found) and bool(found - {0, VOID})


def _distinct(values: NDArray[Any]) -> list[int]:
    """The distinct values of integers, sorted."""
    if values.size and values.min() >= 0 and values.max() <= 65535:
        return np.flatnonzero(np.bincount(values.ravel())).tolist()  # twenty times as fast as sorting
    return np.unique(values).tolist()


def _two_tones(values: NDArray[Any], what: str) -> Mask:
    """Pixels [H, W] nearer to the highest than to the lowest value.

    Raises: _ManyClasses where there are areas of one value between both.
    """
    low, high = float(values.min()), float(values.max())
    level = (values.astype(np.float32) - np.float32(low)) / np.float32(high - low)
    between = (level > 0.15) & (level < 0.85)
    if _has_area(values, between):
        tones = np.unique(values[_areas(values) & between])
        shown = ", ".join(f"{tone:.4g}" for tone in tones[:4].tolist())
        raise _ManyClasses(f"areas of {what} ({shown}) between the lowest, {low:.4g}, and the highest, {high:.4g}")
    return level >= 0.5


def _of_colours(colours: NDArray[np.uint8]) -> Mask:
    """Pixels of the colour [H, W, 3] that is not the background's.

    Raises: _ManyClasses where there are areas of a third colour.
    """
    if _is_grey(colours):
        return _of_grey(colours[..., 0], lossy=False)
    away = _away(colours, _background(colours))
    far = away >= away.max() / 2
    marks = colours[far]
    mark = np.median(marks[:: max(1, len(marks) // 10_000)], axis=0).astype(np.uint8)
    other = far & (_away(colours, mark) > away.max() / 3)
    mixed = ~far & (away > away.max() / 4)
    for third in (other, mixed):
        if third.any() and _has_area(numbers := _numbered(colours), third):
            tones = np.unique(numbers[_areas(numbers) & third])
            shown = ", ".join(f"#{tone:06x}" for tone in tones[:4].tolist())
            raise _ManyClasses(f"areas of further colours ({shown}) beside the mark and the background")
    return far


def _background(colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Black where there is some, else white, else the darker of the two most frequent colours; [3]."""
    if (_largest(colours) < DARK).mean() >= MIN_SHARE:
        return np.zeros(3, np.uint8)
    if (_smallest(colours) > 255 - DARK).mean() >= MIN_SHARE:
        return np.full(3, 255, np.uint8)
    tones, counts = np.unique(_numbered(colours), return_counts=True)
    frequent = tones[np.argsort(-counts, kind="stable")[:2]]
    two = np.stack([frequent >> 16, (frequent >> 8) & 255, frequent & 255], axis=1)
    return two[np.argmin(two @ [299, 587, 114])].astype(np.uint8)


def _has_area(values: NDArray[Any], where: Mask) -> bool:
    """Whether a square of `AREA` px of one value lies in `where`, by its centre."""
    block = (AREA + 1) // 2  # every such square holds a block of this size, aligned to a grid of blocks: a quick test
    rows, columns = (size // block * block for size in values.shape)
    inside = where[:rows, :columns].reshape(rows // block, block, columns // block, block).all(axis=(1, 3))
    return bool(inside.any()) and bool((_areas(values) & where).any())


def _areas(values: NDArray[Any]) -> Mask:
    """Centres of squares of `AREA` px with one value."""
    inside = np.zeros(values.shape, bool)
    margin = AREA // 2
    if min(values.shape) >= AREA:
        even = minimum_filter(values, AREA) == maximum_filter(values, AREA)
        inside[margin:-margin, margin:-margin] = even[margin:-margin, margin:-margin]
    return inside
