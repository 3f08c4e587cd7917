"""Photos read from disk: upright 8-bit RGB pixels, and the focal length of their EXIF data."""

from __future__ import annotations

import hashlib
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from halonerf.picture_files import UnreadablePicture, load_picture, oriented, rgb_pixels, swaps_sides

MIN_SIDE = 64  # px; smaller photos have too few features to be registered

_EXIF_BLOCK, _MAKE, _MODEL = 0x8769, 0x010F, 0x0110
_FOCAL_MM, _FOCAL_35, _PLANE_RESOLUTION, _PLANE_UNIT, _STORED_WIDTH = 0x920A, 0xA405, 0xA20E, 0xA210, 0xA002
_MM_PER_UNIT = {2: 25.4, 3: 10.0, 4: 1.0, 5: 1e-3}  # EXIF 2.3, FocalPlaneResolutionUnit
_DIAGONAL_35MM = math.hypot(36.0, 24.0)


@dataclass(frozen=True)
class PhotoFacts:
    """Size, camera and digests of a photo; or, where it cannot be used, `problem` alone."""

    image_id: str
    problem: str = ""
    width: int = 0  # px, upright
    height: int = 0
    focal: float | None = None  # px of the upright photo; None without EXIF data
    camera: str = ""  # same text = same camera at the same zoom; "" without EXIF data
    content: str = ""  # digest of the file
    pixels: str = ""  # digest of the upright pixels
    upright: bool = True  # whether the EXIF orientation was applied; a finished model may be of the stored pixels
    orientation: int = 1  # EXIF orientation, 1 to 8


def can_open(path: Path) -> bool:
    """Whether Pillow can read the photo's header; its pixels are not decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                return image.width > 0
    except Exception:  # readers of damaged headers raise errors of many kinds
        return False


def read_photo(path: Path, upright: bool = True) -> np.ndarray:
    """RGB pixels of a photo, uint8 [H, W, 3]; see `rgb_pixels` for pictures of other depths and with transparency.

    Args:
        upright: apply the EXIF orientation.

    Raises: UnreadablePicture where the whole photo cannot be decoded; FileNotFoundError and PermissionError.
    """
    picture, orientation = load_picture(path)
    return oriented(rgb_pixels(picture), orientation if upright else 1)


def inspect_photo(folder: Path, image_id: str, upright: bool = True) -> PhotoFacts:
    """Facts about the photo `image_id` below `folder`, decoded once; `problem` says why it cannot be used."""
    path = folder / image_id
    try:
        picture, orientation = load_picture(path)
        pixels = oriented(rgb_pixels(picture), orientation if upright else 1)
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return PhotoFacts(image_id, problem="missing: a link to nothing" if path.is_symlink() else "missing")
    except PermissionError:
        return PhotoFacts(image_id, problem="unreadable: permission denied")
    except UnreadablePicture as error:
        return PhotoFacts(image_id, problem=str(error))
    height, width = pixels.shape[:2]
    if min(height, width) < MIN_SIDE:
        return PhotoFacts(image_id, problem=f"tiny: {width}x{height} px, at least {MIN_SIDE} per side are needed")
    exif, block = _exif(path)
    focal = focal_from_exif(block, width, height, turned=upright and swaps_sides(orientation))
    maker = " ".join(str(exif.get(tag, "")).strip() for tag in (_MAKE, _MODEL)).strip()
    return PhotoFacts(
        image_id=image_id,
        width=width,
        height=height,
        focal=focal,
        camera=f"{maker}|{focal:.1f}|{width}x{height}" if maker and focal else "",
        content=content,
        pixels=hashlib.sha256(f"{width}x{height}".encode() + pixels.tobytes()).hexdigest(),
        upright=upright,
        orientation=orientation,
    )


def focal_from_exif(block: dict[int, Any], width: int, height: int, turned: bool = False) -> float | None:
    """Focal length in pixels of the upright photo, or None.

    From the 35 mm equivalent by diagonals (CIPA DCG-001), else from the focal length and the sensor's pixels per
    unit of length. A photo that was scaled after the exposure is corrected by its stored width.

    Args:
        block: EXIF tag to value.
        width, height: px, of the upright photo.
        turned: whether the stored photo has width and height swapped.
    """
    equivalent = _number(block.get(_FOCAL_35))
    focal: float | None = None
    if equivalent:
        focal = equivalent / _DIAGONAL_35MM * math.hypot(width, height)
    else:
        millimetres, resolution = _number(block.get(_FOCAL_MM)), _number(block.get(_PLANE_RESOLUTION))
        unit = _MM_PER_UNIT.get(int(_number(block.get(_PLANE_UNIT)) or 2))
        if millimetres and resolution and unit:
            now = height if turned else width
            then = _number(block.get(_STORED_WIDTH)) or now
            focal = millimetres * resolution / unit * now / then
    if focal is None or not 0.1 < focal / max(width, height) < 20.0:
        return None  # absent or implausible, such as a telescope's, which would mislead the mapper
    return focal


def _exif(path: Path) -> tuple[dict[int, Any], dict[int, Any]]:
    """EXIF tags of a photo, and those of its EXIF block; empty where they are damaged, which costs no photo."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                exif = image.getexif()
                return dict(exif), dict(exif.get_ifd(_EXIF_BLOCK))
    except Exception:  # the EXIF parser has no error of its own
        return {}, {}


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return number if math.isfinite(number) and number > 0 else None
