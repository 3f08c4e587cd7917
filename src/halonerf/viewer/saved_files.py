"""Files that windows save, numbered and atomically, in the artifact folder only."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from halonerf.files import safe_name, write_atomic


def save_numbered(folder: Path, name: str, content: bytes) -> Path:
    """Atomically write a file into `folder` with the next free number; concurrent calls replace nothing.

    name: "picture.png" gives "picture_0001.png", or the next free number. Returns: the path.
    """
    with _next_number(folder, name) as path:
        write_atomic(path, content)
    return path


def keep_numbered(made: Path, folder: Path, name: str) -> Path:
    """Move a file that `temporary_file` gave to the next free number in `folder`; see `save_numbered`."""
    with _next_number(folder, name) as path:
        made.rename(path)
    return path


@contextmanager
def temporary_file(folder: Path, ending: str) -> Iterator[Path]:
    """A hidden path in `folder` for a file that is being made; it is removed at the end. ending: such as ".mp4"."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".{uuid.uuid4().hex}{ending}"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _next_number(folder: Path, name: str) -> Iterator[Path]:
    """The path of the next free number, which is nobody else's inside."""
    folder.mkdir(parents=True, exist_ok=True)
    safe, number = Path(safe_name(name)), 1
    with FileLock(folder / ".lock"):
        while (path := folder / f"{safe.stem}_{number:04d}{safe.suffix}").exists():
            number += 1
        yield path
