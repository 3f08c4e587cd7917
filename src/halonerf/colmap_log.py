"""COLMAP's own log limited to errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pycolmap


class _LogLevel:
    """COLMAP's log level, which its whole process shares; raised by the first caller, restored by the last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callers = self._before = 0

    def raise_to_errors(self) -> None:
        with self._lock:
            if self._callers == 0:
                self._before = pycolmap.logging.minloglevel
                pycolmap.logging.minloglevel = pycolmap.logging.ERROR.value
            self._callers += 1

    def restore(self) -> None:
        with self._lock:
            self._callers -= 1
            if self._callers == 0:
                pycolmap.logging.minloglevel = self._before


_LEVEL = _LogLevel()


@contextmanager
def quiet_colmap() -> Iterator[None]:
    """Limit COLMAP's log to errors inside the block, also where several threads are in such blocks at once."""
    _LEVEL.raise_to_errors()
    try:
        yield
    finally:
        _LEVEL.restore()
