"""COLMAP's model files read beside COLMAP: whether a binary one is whole, and the photos' names.

COLMAP believes the counts that its binary files state, and waits or allocates without end where they are damaged; of a
text file it reads names up to the first space. Format: https://colmap.github.io/format.html.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pycolmap

from halonerf.errors import BadInput

_POSE_BYTES = 7 * 8  # quaternion and translation
_POINT2D_BYTES = 2 * 8 + 8
_TRACK_ELEMENT_BYTES = 2 * 4
_DATA_ID_BYTES = 4 + 4 + 8


class _Damaged(Exception):
    """What a binary file states does not fit in it."""


class _Reader:
    """Numbers of a binary file, in little-endian order, one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data, self.position = data, 0

    def number(self, kind: str) -> int:
        """The next number, of a format of `struct`."""
        size = struct.calcsize(kind)
        self.skip(size)
        return int(struct.unpack_from(f"<{kind}", self.data, self.position - size)[0])

    def skip(self, size: int) -> None:
        """Pass over `size` bytes."""
        if size > len(self.data) - self.position:
            raise _Damaged
        self.position += size

    def text(self) -> bytes:
        """Bytes up to the next zero."""
        end = self.data.find(b"\0", self.position)
        if end < 0:
            raise _Damaged
        start, self.position = self.position, end + 1
        return self.data[start:end]


def check_binary(files: list[Path]) -> None:
    """Check that each binary file of a model is as long as the counts in it say.

    Raises: BadInput with the file and the first entry that is cut off.
    """
    for path in files:
        entry = _ENTRIES.get(path.stem)
        if entry is None or path.suffix != ".bin":
            continue
        reader, number = _Reader(path.read_bytes()), 0
        try:
            count = reader.number("Q")
            while number < count:
                number += 1
                entry(reader)
        except _Damaged as error:
            where = f"its entry {number} of {count}" if number else "its start"
            raise BadInput(
                f"expected a whole COLMAP model, but {path} is damaged or cut off: {where} does not fit into its "
                f"{len(reader.data)} bytes.\nCopy the model again, or export it anew."
            ) from error


def unreadable_line(files: list[Path]) -> str:
    """The first line of a text model's files that COLMAP cannot read, with its file; empty where none is found."""
    for path in files:
        least, start, end = _NUMBERS.get(path.stem, (0, 0, 0))
        if path.suffix != ".txt":
            continue
        with open(path, "rb") as stream:
            lines = enumerate(stream, start=1)
            for number, line in lines:
                fields = line.split()
                if not fields or fields[0].startswith(b"#"):
                    continue
                if len(fields) < least or not all(map(_is_finite, fields[start:end])):
                    return f"line {number} of {path}, '{_decoded(line.strip())[:120]}'"
                if path.stem == "images":
                    next(lines, None)  # its points
    return ""


def image_names(folder: Path, files: list[Path]) -> dict[int, str]:
    """Names of the model's photos by image id, whole, spaces included.

    COLMAP stores bytes: names that are not UTF-8 are read as Windows' Western code page.
    """
    path = next((file for file in files if file.stem == "images"), folder / "images.txt")
    found = _binary_names(path) if path.suffix == ".bin" else _text_names(path)
    return {image_id: _decoded(name) for image_id, name in found.items()}


def _binary_names(path: Path) -> dict[int, bytes]:
    reader = _Reader(path.read_bytes())
    names = {}
    for _ in range(reader.number("Q")):
        image_id, name = _image(reader)
        names[image_id] = name
    return names


def _text_names(path: Path) -> dict[int, bytes]:
    """Names in `images.txt`: all after the ninth number; the line after an image's holds its points, even if empty."""
    names = {}
    with open(path, "rb") as stream:
        for line in stream:
            fields = line.split(maxsplit=9)
            if not fields or fields[0].startswith(b"#"):
                continue
            if len(fields) == 10 and fields[0].isdigit():
                names[int(fields[0])] = fields[9].strip()
            next(stream, None)
    return names


def _decoded(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("cp1252", errors="replace")


_NUMBERS: dict[str, tuple[int, int, int | None]] = {  # fields of a line at least; the first and the end of its numbers
    "cameras": (5, 2, None),
    "images": (10, 0, 9),
    "points3D": (8, 0, None),
    "frames": (10, 0, 10),
}


def _is_finite(field: bytes) -> bool:
    try:
        return math.isfinite(float(field))
    except ValueError:
        return False


def _camera(reader: _Reader) -> None:
    reader.skip(4)
    model = reader.number("i")
    reader.skip(2 * 8 + 8 * _parameter_count(model))


@cache
def _parameter_count(model: int) -> int:
    """Number of parameters of a camera model; 0 of one that COLMAP does not have, at which its own reader stops."""
    try:
        name = pycolmap.CameraModelId(model).name
        return len(pycolmap.Camera.create_from_model_name(1, name, 1.0, 2, 2).params)
    except (ValueError, RuntimeError):
        return 0


def _image(reader: _Reader) -> tuple[int, bytes]:
    image_id = reader.number("I")
    reader.skip(_POSE_BYTES + 4)
    name = reader.text()
    reader.skip(_POINT2D_BYTES * reader.number("Q"))
    return image_id, name


def _point(reader: _Reader) -> None:
    reader.skip(8 + 3 * 8 + 3 + 8)
    reader.skip(_TRACK_ELEMENT_BYTES * reader.number("Q"))


def _rig(reader: _Reader) -> None:
    reader.skip(4)
    sensors = reader.number("I")
    if sensors:
        reader.skip(8)
    for _ in range(sensors - 1):
        reader.skip(8)
        if reader.number("B"):
            reader.skip(_POSE_BYTES)


def _frame(reader: _Reader) -> None:
    reader.skip(2 * 4 + _POSE_BYTES)
    reader.skip(_DATA_ID_BYTES * reader.number("I"))


_ENTRIES: dict[str, Callable[[_Reader], object]] = {
    "cameras": _camera,
    "images": _image,
    "points3D": _point,
    "rigs": _rig,
    "frames": _frame,
}
