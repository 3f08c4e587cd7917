"""Safe names in an export: of concepts, which may be in any script, and paths of photos, which stay below a folder."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from halonerf.files import safe_name

_ESCAPED = re.compile(r'[\x00-\x1f\x7f:*?"<>|\\]|%(?=[0-9A-Fa-f]{2})|[. ]+\Z|[\udc80-\udcff]')


def folder_names(concepts: Sequence[str]) -> list[str]:
    """A file name for each concept, distinct on file systems that ignore case, too."""
    return _distinct([safe_name(concept) for concept in concepts])


def property_names(concepts: Sequence[str]) -> list[str]:
    """A distinct ASCII name of letters, digits and underscores for each concept."""
    plain = [unicodedata.normalize("NFKD", concept).encode("ascii", "ignore").decode().lower() for concept in concepts]
    return _distinct([re.sub(r"[^a-z0-9]+", "_", name).strip("_")[:40] or "concept" for name in plain])


def photo_file(name: str) -> str:
    """A photo's name as a relative path in the export, with forward slashes; distinct names give distinct paths.

    Characters that file systems or programs forbid (`:`, `\\`, `*`, `?`, `"`, `<`, `>`, `|`, control characters), dots
    and spaces at the end of a part, and a `%` that could be read as an escape become `%XX`, the hexadecimal numbers of
    their bytes in UTF-8, as in web addresses.
    """
    return "/".join(_ESCAPED.sub(_percent, part) for part in name.split("/") if part)


def inside(folder: Path, name: str) -> Path:
    """The path below `folder` of a photo's name: `photo_file`."""
    return folder / photo_file(name)


def _percent(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode(errors="surrogateescape"))


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
