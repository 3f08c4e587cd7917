"""How this process keeps its memory."""

from __future__ import annotations

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt, from malloc.h
LARGE = 1 << 30  # bytes


def keep_freed_memory() -> bool:
    """Let the allocator reuse freed arrays instead of giving them back to the system; whether it does.

    A step of a fit makes and frees some ten megabytes of arrays. By default glibc maps each large one anew, and the
    system clears every page when it is first touched: 2,100 page faults and 6 ms of a 90 ms step. Other C libraries
    have no such switch and are left alone.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(key, LARGE) == 1 for key in (TRIM_THRESHOLD, MMAP_THRESHOLD))
