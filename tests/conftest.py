"""What tests share: the real photos where they are at hand, and the command line as people run it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("HALONERF_SHARED", ROOT.parent / "shared")) / "data"


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """The folder of a real data set by name; the test is skipped where it is absent."""

    def find(name: str) -> Path:
        folder = SHARED / name
        if not folder.exists():
            pytest.skip(f"needs the data set '{name}' in {SHARED} (set HALONERF_SHARED to its parent)")
        return folder

    return find


@pytest.fixture
def halonerf(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `halonerf` with the given arguments in a fresh folder; artifacts go below it unless told otherwise."""

    def call(
        *arguments: str, timeout: float = 300, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "halonerf", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **(environment or {})},
        )

    return call


@pytest.fixture(scope="session")
def clipseg_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny random CLIPSeg in the hub's layout."""
    from helpers.tiny_clipseg import write_tiny_clipseg

    return write_tiny_clipseg(tmp_path_factory.mktemp("clipseg"))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch on one thread: tiny networks lose most of their time waiting for a second one on a busy machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
