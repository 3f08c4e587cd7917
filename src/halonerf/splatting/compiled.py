"""How the kernels are compiled: once a machine, kept on disk under a digest of this folder's sources."""

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
# their meaning, because a fit that has gone wrong has to be noticed.
FAST = {"reassoc", "contract", "arcp", "nsz", "afn"}
CACHE = "CACHE_DIR"  # numba's option, read when a function is decorated


def compiled(parallel: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile a kernel with numba and keep the machine code on disk (half a minute for all kernels, once).

    numba notices changes of a kernel's own file only, not of the constants and kernels that it uses from others;
    a folder named by the digest of all of them does.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        before: str = getattr(config, CACHE)
        setattr(config, CACHE, str(cache_folder(before)))
        try:
            return numba.njit(function, cache=True, parallel=parallel, fastmath=FAST, nogil=True, error_model="numpy")
        finally:
            setattr(config, CACHE, before)

    return decorate


def cache_folder(chosen: str = "") -> Path:
    """Where machine code is kept: below `chosen` (NUMBA_CACHE_DIR), the user's cache, or the temporary folder."""
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
