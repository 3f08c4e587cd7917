"""How the kernels are compiled: once a machine, kept on disk where a folder for it can be had."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

# Sums may be reordered and multiply-adds fused, so that loops become vector instructions; NaN and infinity keep
# their meaning, because a fit that has gone wrong has to be noticed.
FAST = {"reassoc", "contract", "arcp", "nsz", "afn"}


def compiled(parallel: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile a kernel with numba and keep the machine code on disk.

    numba keeps it beside the source or in the user's cache folder; where neither can be written the kernel is
    compiled anew in each process (about half a minute for all of them).
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        options = {"parallel": parallel, "fastmath": FAST, "nogil": True, "error_model": "numpy", "boundscheck": False}
        try:
            return numba.njit(function, cache=True, **options)
        except RuntimeError:  # "cannot cache function: no locator available"
            return numba.njit(function, **options)

    return decorate
