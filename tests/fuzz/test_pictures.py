"""Photos, masks, pictures of class numbers and target maps: damaged files give documented errors, in bounded time."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from fuzz.mutants import check_reader
from halonerf.data.formats.target_maps import Target
from halonerf.data.photo_io import can_open, inspect_photo
from halonerf.data.sources.indexed_masks import read_index_image
from halonerf.masks import read_mask

pytestmark = pytest.mark.slow

SIZE = (96, 80)  # px
EXIF = (
    b"Exif\0\0II*\0" + struct.pack("<IH", 8, 4)
    + struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)  # orientation
    + struct.pack("<HHI4s", 0x010F, 2, 4, b"abc\0")  # maker
    + struct.pack("<HHII", 0x011A, 5, 1, 80)  # resolution
    + struct.pack("<HHII", 0x8769, 4, 1, 96)  # EXIF block
    + bytes(4) + bytes(18) + struct.pack("<II", 72, 1) + bytes(8)
    + struct.pack("<H", 2) + struct.pack("<HHII", 0x920A, 5, 1, 80) + struct.pack("<HHIHH", 0xA405, 3, 1, 28, 0)
    + bytes(4)
)  # fmt: skip


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def photo_samples() -> list[bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (10, 12, 3), np.uint8)
    photo = Image.fromarray(pixels).resize(SIZE, Image.Resampling.BICUBIC)
    kinds = ["JPEG", "PNG", "WEBP", "TIFF", *(["AVIF"] if features.check("avif") else [])]
    with_exif = [encoded(photo, kind, exif=EXIF) for kind in kinds]
    return [
        *with_exif,
        encoded(photo, "PPM"),
        encoded(photo, "BMP"),
        encoded(photo.convert("F"), "TIFF"),
        encoded(photo.convert("CMYK"), "JPEG"),
        encoded(photo.convert("P"), "PNG", transparency=0),
    ]


def mask_samples() -> list[bytes]:
    drawn = np.zeros((80, 96), np.uint8)
    drawn[20:60, 30:70] = 1
    palette = Image.fromarray(drawn, "P")
    palette.putpalette([0, 0, 0, 128, 0, 0])
    overlay = np.dstack([drawn * 255, drawn * 0, drawn * 0, drawn * 100])
    white = Image.fromarray(drawn * np.uint8(255))
    return [
        encoded(white, "PNG", exif=EXIF),
        encoded(white, "JPEG", exif=EXIF),
        encoded(white, "BMP"),
        encoded(palette, "GIF"),
        encoded(palette, "PNG"),
        encoded(Image.fromarray(overlay), "WEBP", lossless=True),
        encoded(Image.fromarray(drawn.astype(np.float32)), "TIFF"),
        encoded(Image.fromarray(drawn.astype(np.uint16)), "TIFF", compression="tiff_lzw"),
    ]


def number_samples() -> list[bytes]:
    numbers = np.arange(80 * 96).reshape(80, 96) // 640
    return [
        encoded(Image.fromarray(numbers.astype(np.uint8)), "PNG", exif=EXIF),
        encoded(Image.fromarray(numbers.astype(np.uint8), "P"), "PNG"),
        encoded(Image.fromarray(numbers.astype(np.uint16)), "PNG"),
        encoded(Image.fromarray(numbers.astype(np.float32)), "TIFF"),
        encoded(Image.fromarray(numbers.astype(np.int32)), "TIFF"),
        encoded(Image.fromarray(numbers.astype(np.uint8)), "PPM"),
    ]


def stored(compress: bool, **arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if compress else np.savez)(buffer, **arrays)
    return buffer.getvalue()


def map_samples() -> list[bytes]:
    probability = np.random.default_rng(0).integers(0, 256, (40, 48), np.uint8)
    region = probability > 100
    return [
        stored(True, probability=probability, region=region),
        stored(False, probability=probability, region=region),
        stored(False, probability=probability.astype(np.float32)[None], region=region.astype(np.int64)),
    ]


def read_photo_facts(path: Path) -> None:
    """A damaged photo is set aside: a `problem`, and no error."""
    can_open(path)
    facts = inspect_photo(path.parent, path.name)
    assert facts.problem or (min(facts.width, facts.height) >= 64 and facts.content)


def read_class_numbers(path: Path) -> None:
    assert np.issubdtype(read_index_image(path).dtype, np.integer) or read_index_image(path).dtype == bool


def read_target(path: Path) -> None:
    probability, region = Target(path, "portal", (path,)).maps(20, 24)
    assert probability.shape == region.shape == (20, 24)


def test_damaged_photos(tmp_path: Path):
    outcomes = check_reader(read_photo_facts, photo_samples(), tmp_path / "photo.bin")
    assert set(outcomes) == {"read"}


@pytest.mark.parametrize(
    ("read", "samples"),
    [(read_mask, mask_samples()), (read_class_numbers, number_samples()), (read_target, map_samples())],
    ids=["mask", "numbers", "target map"],
)
def test_damaged_pictures(tmp_path: Path, read, samples: list[bytes]):
    outcomes: Mapping[str, int] = check_reader(read, samples, tmp_path / "picture.bin")
    assert set(outcomes) == {"read", "BadInput"}
    assert min(outcomes.values()) > 20  # damage of both kinds: what can be read, and what cannot (few: checksums)
