"""Photos found by the names that tables, models and people write for them.

A name is compared as it is written first; then without what differs between systems and does not tell photos apart:
Unicode form (macOS decomposes letters), case, spaces and underscores, a wiki's namespace ("File:"), an address's
escapes, the folders in front. A name that several photos fit equally well is no name.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple
from urllib.parse import unquote

# "File" in the languages of the largest wikis, and the older names of the namespace
_NAMESPACES = (
    "file", "image", "datei", "bild", "fichier", "archivo", "imagen", "ficheiro", "arquivo", "imagem", "immagine",
    "bestand", "afbeelding", "plik", "grafika", "soubor", "súbor", "fil", "tiedosto", "kuva", "fájl", "kép", "dosya",
    "файл", "изображение", "зображення", "ファイル", "画像", "文件", "檔案", "파일", "קובץ", "ملف",
)  # fmt: skip
_NAMESPACE = re.compile(rf"^(?:{'|'.join(_NAMESPACES)})\s*:\s*", re.IGNORECASE)
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_SPACES = re.compile(r"[\s_]+")


class Match(NamedTuple):
    """What a written name stands for.

    photo: None where no photo fits, or several. looseness: 0 for the photo's path as it is written, more the more was
    ignored. candidates: the photos that fit equally well, where they are several.
    """

    photo: str | None
    looseness: int = 0
    candidates: tuple[str, ...] = ()


class PhotoNames:
    """The names of a collection's photos, and a search among them.

    Args:
        photos: paths below the photo folder, with forward slashes.
    """

    def __init__(self, photos: Iterable[str]) -> None:
        self.photos = sorted(photos)
        self._indices = [self._index(simplify) for simplify in _SIMPLIFICATIONS]

    def find(self, written: str) -> Match:
        """The photo that a table's or a model's name stands for."""
        for looseness, (simplify, index) in enumerate(zip(_SIMPLIFICATIONS, self._indices, strict=True)):
            parts = simplify(written)
            fitting = index.get(parts[-1], ()) if parts and parts[-1] else ()
            if not fitting:
                continue
            common = {photo: _common_end(parts, simplify(photo)) for photo in fitting}
            most = max(common.values())
            best = tuple(photo for photo in fitting if common[photo] == most)
            whole = tuple(photo for photo in best if common[photo] == len(simplify(photo)) == len(parts))
            if len(best) == 1 or len(whole) == 1:
                photo = whole[0] if len(whole) == 1 else best[0]
                return Match(photo, 2 * looseness + (photo not in whole))
            return Match(None, candidates=best)
        return Match(None)

    def nearest(self, written: str) -> str | None:
        """The photo with the most similar file name, for messages; None where none is similar."""
        parts = _SIMPLIFICATIONS[-1](written)
        index = self._indices[-1]
        near = difflib.get_close_matches(parts[-1], list(index)[:5000], n=1, cutoff=0.5) if parts else []
        return index[near[0]][0] if near else None

    def _index(self, simplify: Callable[[str], tuple[str, ...]]) -> dict[str, list[str]]:
        """Photos by their simplified file name."""
        index: dict[str, list[str]] = defaultdict(list)
        for photo in self.photos:
            index[simplify(photo)[-1]].append(photo)
        return dict(index)


def _as_written(name: str) -> tuple[str, ...]:
    """A path's parts."""
    return tuple(part for part in name.strip().replace("\\", "/").split("/") if part not in ("", "."))


def _composed(name: str) -> tuple[str, ...]:
    return _as_written(unicodedata.normalize("NFC", name))


def _without_case(name: str) -> tuple[str, ...]:
    return _as_written(unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold()))


def _as_title(name: str) -> tuple[str, ...]:
    """A path's parts without a wiki's namespace and an address's escapes, with single spaces for underscores."""
    if _ADDRESS.match(name.strip()):
        name = unquote(re.split(r"[?#]", name.strip(), maxsplit=1)[0])
    return tuple(_SPACES.sub(" ", _NAMESPACE.sub("", part, count=1)).strip() for part in _without_case(name))


_SIMPLIFICATIONS = (_as_written, _composed, _without_case, _as_title)


def _common_end(first: tuple[str, ...], second: tuple[str, ...]) -> int:
    """Number of equal parts at the ends of two paths."""
    count = 0
    for one, other in zip(reversed(first), reversed(second), strict=False):
        if one != other:
            break
        count += 1
    return count
