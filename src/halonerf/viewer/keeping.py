"""Files that windows leave behind: numbered, whole, in the artefact's folder and nowhere else."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from halonerf.artifacts import safe_name, write_atomic


def keep(folder: Path, name: str, content: bytes) -> Path:
    """Write a file into `folder` under `name` with the next free number; nothing is replaced, whoever else writes.

    "picture.png" becomes "picture_0001.png", or a number not in use.
    """
    folder.mkdir(parents=True, exist_ok=True)
    safe, number = Path(safe_name(name)), 1
    with FileLock(folder / ".lock"):
        while (path := folder / f"{safe.stem}_{number:04d}{safe.suffix}").exists():
            number += 1
        write_atomic(path, content)
    return path


@contextmanager
def unnamed(folder: Path, ending: str) -> Iterator[Path]:
    """A place in `folder` for a file that is still being made; what is there at the end is removed."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".{uuid.uuid4().hex}{ending}"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
