"""Compilation of kernels by numba, cached on disk under a digest of this package's sources."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import config

# Sums may be reordered and multiply-adds fused, so that loops become vector instructions; NaN and infinity keep
# their meaning, because a fit that diverges has to be noticed.
FAST = {"reassoc", "contract", "arcp", "nsz", "afn"}
CACHE_OPTION = "CACHE_DIR"  # numba's, read when a function is decorated


def compiled(parallel: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that compiles a kernel with numba and caches the machine code (half a minute for all kernels, once).

    numba detects changes of a kernel's own file only, not of constants and kernels from other files; a folder named by
    the digest of all of them covers these, too.

    A kernel that others call is inlined in them by force. Otherwise the process that compiles calls the copy that was
    optimised by itself, and later ones, which load the cached code, the copy that was optimised within the caller: the
    two round differently, and the first fit on a machine would not equal the second.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        before: str = getattr(config, CACHE_OPTION)
        setattr(config, CACHE_OPTION, str(cache_folder(before)))
        try:
            return numba.njit(
                function,
                cache=True,
                parallel=parallel,
                forceinline=not parallel,
                fastmath=FAST,
                nogil=True,
                error_model="numpy",
            )
        finally:
            setattr(config, CACHE_OPTION, before)

    return decorate


def cache_folder(chosen: str = "") -> Path:
    """Folder of the machine code: below `chosen` (NUMBA_CACHE_DIR), the user's cache, or the temporary folder."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    for root in (
        Path(chosen) if chosen else home / "halonerf",
        Path(tempfile.gettempdir()) / f"halonerf-{os.getuid()}",
    ):
        folder = root / "kernels" / digest.hexdigest()[:16]
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
    return Path(tempfile.mkdtemp(prefix="halonerf-kernels-"))
