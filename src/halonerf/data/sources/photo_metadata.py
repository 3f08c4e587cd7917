"""Metadata of photos from a table: rows matched to photos and merged, and those that belong to none."""

from __future__ import annotations

import logging
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from halonerf.data.delimited import SEPARATORS, DelimitedFile, Row
from halonerf.data.photo_names import Match, PhotoNames
from halonerf.errors import BadInput
from halonerf.files import MAX_CELL_CHARS
from halonerf.types import ImageRecord

log = logging.getLogger(__name__)

NAME_COLUMNS = ("image_id", "filename", "file", "name", "path")
TEXT_COLUMNS = ("caption", "categories", "landmark", "building_type")
MAX_LOGGED = 10  # rows that are named one by one in the log; all of them are in the table beside the collection


class UnusedRow(NamedTuple):
    """A row of the table that gives no photo its metadata: line in the file, name as written, why, nearest photo."""

    line: int
    name: str
    reason: str
    nearest: str


@dataclass(frozen=True)
class PhotoMetadata:
    """Records by image id, and the rows that are not in them."""

    records: dict[str, ImageRecord]
    unused: list[UnusedRow]


class _Named(NamedTuple):
    row: Row
    name: str
    match: Match


def read_metadata(path: Path, photos: Sequence[str]) -> PhotoMetadata:
    """Metadata of `photos` (paths below their folder) from a CSV, with any of four separators, in any encoding.

    Names are matched as `halonerf.data.photo_names` says; where rows name one photo, the one that names it most exactly
    counts. Several such rows are merged: an empty cell gives way, and of cells that differ the first counts, with a
    warning.

    Raises: BadInput where the file is missing or damaged, has no column with the photo's name, or has rows of which
        none matches a photo.
    """
    names = PhotoNames(photos)
    table = DelimitedFile(path, (*NAME_COLUMNS, *TEXT_COLUMNS), lambda text: _letters_that_fit(text, photos))
    key = table.header.find(*NAME_COLUMNS)
    if key is None:
        sign = SEPARATORS[table.header.separator]
        columns = ", ".join(filter(None, table.header.columns)) or "no header"
        raise BadInput(
            f"expected a column called one of {', '.join(NAME_COLUMNS)} in {path}, found, separated by {sign}: "
            f"{columns}.\nRename the column that holds the photos' file names to 'filename'."
        )
    found: dict[str, list[_Named]] = defaultdict(list)
    unused: list[UnusedRow] = []
    for row in table.rows():
        name = row.cells[key].strip()
        match = names.find(name)
        if match.photo is not None:
            found[match.photo].append(_Named(row, name, match))
        elif match.candidates:
            unused.append(UnusedRow(row.line, name, f"fits several photos: {_few(match.candidates)}", ""))
        else:
            reason = "no photo of that name" if name else "no name"
            unused.append(UnusedRow(row.line, name, reason, names.nearest(name) or ""))
    texts = {column: name for name in TEXT_COLUMNS if (column := table.header.find(name))}
    records = {}
    for photo, rows in found.items():
        chosen, others = _most_exact(photo, rows)
        unused += others
        if chosen:
            records[photo] = _record(path, photo, _merged(path, photo, [n.row for n in chosen], texts))
    unused.sort()
    _check(path, len(records), unused, photos)
    return PhotoMetadata(records, unused)


def _most_exact(photo: str, rows: Sequence[_Named]) -> tuple[list[_Named], list[UnusedRow]]:
    """Of the rows that name one photo, those that do so most exactly, and the others; none where they differ."""
    least = min(named.match.looseness for named in rows)
    best = [named for named in rows if named.match.looseness == least]
    others = [
        UnusedRow(n.row.line, n.name, f"{photo} has a row of its own, line {best[0].row.line}", "")
        for n in rows
        if n.match.looseness > least
    ]
    if len({named.name for named in best}) == 1 or least == 0:
        return best, others
    if len({_plain_path(named.name) for named in best}) == 1:
        return best, others
    lines = ", ".join(str(named.row.line) for named in best)
    return [], others + [
        UnusedRow(n.row.line, n.name, f"lines {lines} name different files, and only {photo} is there", photo)
        for n in best
    ]


def _plain_path(name: str) -> str:
    return unicodedata.normalize("NFC", name.replace("\\", "/").removeprefix("./")).casefold().replace("_", " ")


def _merged(path: Path, photo: str, rows: Sequence[Row], columns: dict[str, str]) -> dict[str, str]:
    """Texts by the names in `TEXT_COLUMNS`: of each column the first cell that is not empty.

    Args:
        columns: name as written to its name in `TEXT_COLUMNS`.
    """
    merged: dict[str, tuple[str, int]] = {}
    for row in rows:
        for column, name in columns.items():
            text = row.cells[column].strip()
            if not text:
                continue
            first, line = merged.setdefault(name, (text, row.line))
            if first != text:
                log.warning(
                    "%s: lines %d and %d give %s different texts for '%s': the first is used",
                    path, line, row.line, photo, name,
                )  # fmt: skip
    return {name: text for name, (text, _) in merged.items()}


def _record(path: Path, photo: str, texts: dict[str, str]) -> ImageRecord:
    for name, text in texts.items():
        if len(text) > MAX_CELL_CHARS:
            log.warning(
                "%s: '%s' of %s has %d characters, of which the first %d are used",
                path, name, photo, len(text), MAX_CELL_CHARS,
            )  # fmt: skip
    short = {name: text[:MAX_CELL_CHARS] for name, text in texts.items()}
    return ImageRecord(
        image_id=photo,
        landmark=short.get("landmark", ""),
        filename=Path(photo).name,
        caption=short.get("caption", ""),
        categories=_split_categories(short.get("categories", "")),
        building_type=short.get("building_type", ""),
    )


def _split_categories(text: str) -> tuple[str, ...]:
    lines = "\n".join(text.replace("\r\n", "\n").split("\r"))
    separator = next((s for s in ("\n", "|", ";") if s in lines), "\n")
    return tuple(part.strip() for part in lines.split(separator) if part.strip())


def _check(path: Path, matched: int, unused: Sequence[UnusedRow], photos: Sequence[str]) -> None:
    """Log the rows that are not used.

    Raises: BadInput where there are rows and none is used.
    """
    described = [
        f"line {row.line}, '{row.name[:200]}': {row.reason}" + (f" (nearest: {row.nearest})" if row.nearest else "")
        for row in unused
    ]
    if unused and not matched:
        raise BadInput(
            f"expected rows in {path} for the {len(photos)} photos, such as {photos[0]}, but none of its {len(unused)} "
            f"rows is one's: {'; '.join(described[:3])}.\n"
            "Give each photo's path below scene.path, or its file name, in the column of the names."
        )
    if not matched:
        log.warning("%s has no rows below its header", path)
    for line in described[:MAX_LOGGED]:
        log.warning("%s: not used: %s", path, line)
    if len(described) > MAX_LOGGED:
        log.warning("%s: %d further rows are not used", path, len(described) - MAX_LOGGED)


def _letters_that_fit(text: str, photos: Sequence[str]) -> int:
    """Number of photos with letters beyond ASCII in their file name whose name is in the text."""
    folded = unicodedata.normalize("NFC", text).casefold().replace("_", " ")
    names = (unicodedata.normalize("NFC", Path(photo).name).casefold().replace("_", " ") for photo in photos)
    return sum(name in folded for name in names if not name.isascii())


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
