"""Safe names in an export: of concepts, which may be in any script, and paths of photos, which stay below a folder."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from halonerf.errors import BadInput
from halonerf.files import safe_name


def folder_names(concepts: Sequence[str]) -> list[str]:
    """A file name for each concept, distinct on file systems that ignore case, too."""
    return _distinct([safe_name(concept) for concept in concepts])


def property_names(concepts: Sequence[str]) -> list[str]:
    """A distinct ASCII name of letters, digits and underscores for each concept."""
    plain = [unicodedata.normalize("NFKD", concept).encode("ascii", "ignore").decode().lower() for concept in concepts]
    return _distinct([re.sub(r"[^a-z0-9]+", "_", name).strip("_")[:40] or "concept" for name in plain])


def inside(folder: Path, name: str) -> Path:
    """The path below `folder` of a photo's name, whose parts are divided by slashes.

    Raises: BadInput where the name leads out of the folder.
    """
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or any(part in ("..", "/") or ":" in part or "\0" in part for part in parts):
        raise BadInput(
            f"expected photos' names that stay below one folder, got '{name}'.\nRename it and run all stages again."
        )
    return folder.joinpath(*parts)


def _distinct(names: list[str]) -> list[str]:
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
