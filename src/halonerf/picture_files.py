"""Picture files of any kind, decoded by Pillow: as 8-bit RGB, and turned by their EXIF orientation."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

_ORIENTATION = 0x0112  # EXIF tag
_BACK = {6: 8, 8: 6}  # the orientations that are not their own inverse
_FLOAT_RANGES = ((0.0, 1.001, 255.0), (16.0, 255.5, 1.0), (255.5, 65535.5, 1 / 257))  # maximum from, to, factor to 255


class UnreadablePicture(ValueError):
    """A file that is no picture, a damaged one, or one whose values have no known meaning; the text is the reason."""


def load_picture(source: Path | BinaryIO, formats: Sequence[str] | None = None) -> tuple[Image.Image, int]:
    """The first picture of a file, decoded as stored, and its EXIF orientation, 1 to 8.

    The orientation is 1 (upright) without one, with an unknown one, or with damaged EXIF data. Pillow turns a TIFF when
    it decodes it; its orientation is 1, too.

    formats: Pillow's names of those that are accepted; None: all.

    Raises: UnreadablePicture; FileNotFoundError and PermissionError.
    """
    with _reading(source, formats) as picture:
        picture.load()
        return picture, _exif_orientation(picture)


def shown_size(source: Path | BinaryIO, formats: Sequence[str] | None = None) -> tuple[int, int]:
    """(width, height) of a picture as its EXIF orientation turns it, px, from its header.

    Raises: as `load_picture`.
    """
    with _reading(source, formats) as picture:
        width, height = picture.size
        return (height, width) if swaps_sides(_exif_orientation(picture)) else (width, height)


@contextmanager
def _reading(source: Path | BinaryIO, formats: Sequence[str] | None) -> Iterator[Image.Image]:
    """An open picture; whatever goes wrong in reading it becomes an UnreadablePicture."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on large pictures and on odd metadata
            with Image.open(source, formats=None if formats is None else tuple(formats)) as picture:
                yield picture
    except (FileNotFoundError, PermissionError):
        raise
    except MemoryError as error:  # chunks of a damaged PNG may claim gigabytes
        raise UnreadablePicture("unreadable: it needs more memory than is available") from error
    except Image.DecompressionBombError as error:
        raise UnreadablePicture("too large to be decoded safely") from error
    except Exception as error:  # decoders of damaged files also raise struct.error, KeyError, zlib.error, …
        raise UnreadablePicture(f"unreadable: {_reason(error)}") from error


def oriented(pixels: np.ndarray, orientation: int, back: bool = False) -> np.ndarray:
    """Stored pixels [h, w, …] as they are shown at an EXIF orientation (EXIF 2.3, tag 0x0112), contiguous.

    back: the inverse, shown pixels as they are stored.
    """
    match _BACK.get(orientation, orientation) if back else orientation:
        case 2:
            pixels = pixels[:, ::-1]
        case 3:
            pixels = pixels[::-1, ::-1]
        case 4:
            pixels = pixels[::-1]
        case 5:
            pixels = pixels.swapaxes(0, 1)
        case 6:
            pixels = np.rot90(pixels, -1)
        case 7:
            pixels = pixels[::-1, ::-1].swapaxes(0, 1)
        case 8:
            pixels = np.rot90(pixels, 1)
    return np.ascontiguousarray(pixels)


def swaps_sides(orientation: int) -> bool:
    """Whether pictures of that EXIF orientation are stored with width and height swapped."""
    return orientation >= 5


def rgb_pixels(picture: Image.Image) -> np.ndarray:
    """A decoded picture as stored, uint8 [H, W, 3].

    Grey integers of more than 8 bits are scaled from the 8, 12 or 16 bits that hold the largest, floats from 0 … 1,
    0 … 255 or 0 … 65535. What is transparent is black; an opacity that is the same everywhere counts as none.

    Raises: UnreadablePicture for values of no such range.
    """
    if picture.mode == "F":
        return _grey(_from_floats(np.asarray(picture, np.float32)))
    if picture.mode.startswith("I"):
        return _grey(_from_integers(np.asarray(picture).astype(np.int64)))
    if not has_opacity(picture):
        return np.asarray(picture.convert("RGB"))
    rgba = np.asarray(picture.convert("RGBA"))
    opacity = rgba[..., 3:]
    if opacity.min() == opacity.max():
        return np.ascontiguousarray(rgba[..., :3])
    return ((rgba[..., :3].astype(np.uint16) * opacity + 127) // 255).astype(np.uint8)


def has_opacity(picture: Image.Image) -> bool:
    """Whether a picture has an alpha channel or transparent colours."""
    return picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info


def _exif_orientation(picture: Image.Image) -> int:
    try:
        value = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # the EXIF parser has no error of its own; without EXIF data a picture is as stored
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _from_integers(values: np.ndarray) -> np.ndarray:
    largest = int(values.max(initial=0))
    if largest > 65535 or int(values.min(initial=0)) < 0:
        raise UnreadablePicture(f"integers from {values.min()} to {largest}: expected 8, 12 or 16 bits")
    return values * (255.0 / next(2**bits - 1 for bits in (8, 12, 16) if largest < 2**bits))


def _from_floats(values: np.ndarray) -> np.ndarray:
    values = np.nan_to_num(values, nan=0.0, posinf=np.inf, neginf=-np.inf)
    smallest, largest = float(values.min(initial=0)), float(values.max(initial=0))
    for start, end, factor in _FLOAT_RANGES:
        if start <= largest <= end and smallest >= -0.001 * end:
            return values * factor
    raise UnreadablePicture(
        f"floating-point values from {smallest:.4g} to {largest:.4g}: expected 0 to 1, 0 to 255 or 0 to 65535"
    )


def _grey(values: np.ndarray) -> np.ndarray:
    grey = np.clip(values + 0.5, 0, 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error).strip() else "damaged"
