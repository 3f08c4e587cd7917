"""The undistorted photos of an export, at working size, under their names."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from halonerf.files import write_atomic
from halonerf.stages.export.names import inside
from halonerf.visualization.pictures import encoded

PIL_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF"}
QUALITY = 95  # of JPEG and WebP


def image_files(folders: Sequence[Path], name: str) -> list[Path]:
    """Paths of a photo below `images` of each folder."""
    return [inside(folder / "images", name) for folder in folders]


def write_image(files: Sequence[Path], pixels: np.ndarray) -> None:
    """Write one photo under several paths: once, then hard links, or copies where the file system has no links.

    pixels: uint8 [H, W, 3]. The format is that of the name's ending, PNG for an unknown one.
    """
    kind = PIL_FORMATS.get(files[0].suffix.lower(), "PNG")
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(files[0], encoded(pixels, kind, QUALITY))
    for file in files[1:]:
        file.unlink(missing_ok=True)
        try:
            os.link(files[0], file)
        except OSError:
            shutil.copyfile(files[0], file)
