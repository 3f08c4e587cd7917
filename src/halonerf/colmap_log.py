"""Keeps COLMAP's own log to its errors while our log says what goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pycolmap


@contextmanager
def quiet_colmap() -> Iterator[None]:
    """Raise the level of COLMAP's log to errors; set it back at the end."""
    before = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = pycolmap.logging.ERROR.value
    try:
        yield
    finally:
        pycolmap.logging.minloglevel = before
