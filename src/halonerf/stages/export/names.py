"""Names in an export: of concepts, which may be in any script, and of photos, which may not leave their folder."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from halonerf.errors import BadInput
from halonerf.files import safe_name


def folder_names(concepts: Sequence[str]) -> list[str]:
    """A file name for each concept, no two alike, whatever case the file system minds."""
    return _apart([safe_name(concept) for concept in concepts])


def property_names(concepts: Sequence[str]) -> list[str]:
    """An ASCII name of letters, digits and underscores for each concept, no two alike."""
    plain = [unicodedata.normalize("NFKD", concept).encode("ascii", "ignore").decode().lower() for concept in concepts]
    return _apart([re.sub(r"[^a-z0-9]+", "_", name).strip("_")[:40] or "concept" for name in plain])


def inside(folder: Path, name: str) -> Path:
    """The file of a photo's name, whose parts are divided by forward slashes, below `folder`.

    Raises: BadInput where the name leads out of it.
    """
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or any(part in ("..", "/") or ":" in part or "\0" in part for part in parts):
        raise BadInput(
            f"expected photos' names that stay below one folder, got '{name}'.\nRename it and run the road again."
        )
    return folder.joinpath(*parts)


def _apart(names: list[str]) -> list[str]:
    taken: set[str] = set()
    found = []
    for name in names:
        unique, number = name, 1
        while unique.casefold() in taken:
            number += 1
            unique = f"{name}_{number}"
        taken.add(unique.casefold())
        found.append(unique)
    return found
