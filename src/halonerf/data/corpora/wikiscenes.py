"""Corpus: WikiScenes on disk, numbered folders with `category.json` and `pictures/`.

    <type>/category.json                         {"pairs": {LANDMARK: FOLDER}}
    <type>/<landmark>/<i>/<j>/.../category.json  {"max_index", "pairs": {CATEGORY: FOLDER}, "pictures": {FILE: {...}}}
    <type>/<landmark>/<i>/<j>/.../pictures/FILE

A picture's entry is {"caption", "url", "properties"}. Missing or damaged files are skipped; a `category.json` may
also be flat, {FILE: {...}}. Source: Wu et al., Towers of Babel, ICCV 2021.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from halonerf.config.option_types import Text
from halonerf.data.corpora.files import field_text, read_json
from halonerf.errors import BadInput
from halonerf.files import files_digest
from halonerf.types import ImageRecord

CATEGORY_FILE, PICTURES = "category.json", "pictures"
ENDINGS = frozenset((".jpg", ".jpeg", ".png", ".tif", ".tiff", ".gif", ".webp", ".bmp"))
_STRUCTURE = frozenset(("max_index", "pairs", "pictures"))
MAX_DEPTH = 64  # folders; ends circular links


class WikiScenes:
    """A `Corpus` from WikiScenes; `image_id` is the photo's path below `path`, with forward slashes.

    Args:
        path: the folder of the types (`cathedrals`, `mosques` ...), one type, or one landmark.
        name: of the corpus and of the folder of its labels; None: the folder's.

    Raises: BadInput where no `category.json` lies in `path` or in a folder of it.
    """

    def __init__(self, path: Text, name: str | None = None) -> None:
        self.path = Path(path).expanduser()
        self.name = name or self.path.resolve().name
        if not (self.path / CATEGORY_FILE).is_file() and not any(self.path.glob(f"*/{CATEGORY_FILE}")):
            raise BadInput(
                f"expected WikiScenes at {self.path}: a {CATEGORY_FILE} in it or in a folder of it, got none.\n"
                "Give the folder that holds cathedrals/ or mosques/: corpus.path=DIR"
            )

    def identity(self) -> str:
        return files_digest(self.path, [p for p in self.path.rglob(CATEGORY_FILE) if p.is_file()])

    def records(self) -> Iterator[ImageRecord]:
        whole = _entries(self.path)
        if whole and not whole["pictures"]:  # one type: its categories are the landmarks
            yield from self._type(self.path, whole)
        elif whole:
            yield from self._below(self.path, self.path.resolve().name, "")
        else:
            for folder in _folders(self.path):
                yield from self._type(folder, _entries(folder) or _NO_ENTRIES)

    def _type(self, folder: Path, entries: Mapping[str, Mapping[str, Any]]) -> Iterator[ImageRecord]:
        for landmark in _folders(folder):
            name = entries["pairs"].get(landmark.name, "")
            yield from self._below(landmark, name, folder.resolve().name.removesuffix("s"))

    def _below(self, root: Path, landmark: str, building_type: str) -> Iterator[ImageRecord]:
        """Records of one landmark, folder by folder, each before its subfolders."""
        waiting: list[tuple[Path, tuple[str, ...]]] = [(root, ())]
        while waiting:
            folder, categories = waiting.pop()
            entries = _entries(folder) or _NO_ENTRIES
            for file, entry in sorted((entries["pictures"] | _unlisted(folder, entries["pictures"])).items()):
                yield ImageRecord(
                    image_id=(folder / PICTURES / file).relative_to(self.path).as_posix(),
                    landmark=landmark,
                    filename=file,
                    caption=field_text(entry.get("caption")) if isinstance(entry, Mapping) else field_text(entry),
                    categories=categories,
                    building_type=building_type,
                )
            if len(folder.relative_to(root).parts) < MAX_DEPTH:
                for child in reversed(_folders(folder)):
                    category = entries["pairs"].get(child.name, "")
                    waiting.append((child, (*categories, category) if category else categories))


_NO_ENTRIES: Mapping[str, Any] = {"pairs": {}, "pictures": {}}


def _entries(folder: Path) -> dict[str, dict[str, Any]] | None:
    """`pairs` by folder and `pictures` by file of a `category.json`; None where it is missing or damaged."""
    found = read_json(folder / CATEGORY_FILE)
    if not isinstance(found, dict):
        return None
    pairs, pictures = found.get("pairs"), found.get("pictures")
    if not _STRUCTURE & found.keys():
        pictures = {file: entry for file, entry in found.items() if Path(file).suffix.lower() in ENDINGS}
    return {
        "pairs": {str(place): name for name, place in pairs.items()} if isinstance(pairs, dict) else {},
        "pictures": {file: entry for file, entry in pictures.items() if _is_plain_name(file)}
        if isinstance(pictures, dict)
        else {},
    }


def _is_plain_name(file: str) -> bool:
    """Whether a listed name is that of a file directly in `pictures/`."""
    return bool(file) and "/" not in file and "\\" not in file and "\0" not in file and file not in (".", "..")


def _unlisted(folder: Path, listed: Mapping[str, Any]) -> dict[str, Any]:
    """Photos in `pictures/` that the `category.json` does not name."""
    known = {unicodedata.normalize("NFC", file) for file in listed}
    try:
        names = [p.name for p in (folder / PICTURES).iterdir() if p.suffix.lower() in ENDINGS]
    except OSError:
        return {}
    return {name: {} for name in names if unicodedata.normalize("NFC", name) not in known}


def _folders(folder: Path) -> list[Path]:
    """Subfolders that may hold photos, numbers in numerical order."""
    try:
        found = [p for p in folder.iterdir() if p.is_dir() and p.name != PICTURES]
    except OSError:
        return []
    return sorted(
        found, key=lambda p: [(0, int(t), "") if t.isdecimal() else (1, 0, t) for t in re.split(r"(\d+)", p.name) if t]
    )
