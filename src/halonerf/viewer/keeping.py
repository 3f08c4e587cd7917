"""Files that windows leave behind: numbered, whole, in the artefact's folder and nowhere else."""

from __future__ import annotations

import threading
from pathlib import Path

from halonerf.artifacts import safe_name, write_atomic

_naming = threading.Lock()


def keep(folder: Path, name: str, content: bytes) -> Path:
    """Write a file into `folder` under `name` with the next free number; nothing is replaced."""
    with _naming:
        path = free_place(folder, name)
        write_atomic(path, content)
    return path


def free_place(folder: Path, name: str) -> Path:
    """Where a file called `name` may be written: "picture.png" becomes "picture_0001.png", or a number not in use."""
    folder.mkdir(parents=True, exist_ok=True)
    safe = Path(safe_name(name))
    number = 1
    while (path := folder / f"{safe.stem}_{number:04d}{safe.suffix}").exists():
        number += 1
    return path
