"""Freed arrays are reused: measured in a new process, since the setting cannot be undone."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from halonerf.process.memory import keep_freed_memory
asked = sys.argv[1] == "keep"
if asked and not keep_freed_memory():
    print(-1)
    sys.exit()
for k in range(40):
    if k == 20:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones(1_000_000, np.float32) for _ in range(12)]
    del arrays
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    return int(subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True).stdout)


def test_freed_arrays_are_reused():
    kept = faults("keep")
    if kept < 0:
        pytest.skip("this C library's allocator has no such switch")
    assert kept < 0.1 * faults("leave")
