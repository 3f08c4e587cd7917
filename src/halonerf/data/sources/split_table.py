"""Tables that split a collection's photos into train and test, as Phototourism and HolyScenes have them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from halonerf.data.delimited import DelimitedFile
from halonerf.data.photo_names import PhotoNames
from halonerf.errors import BadInput

log = logging.getLogger(__name__)

COLUMNS = ("filename", "id", "split")
# what tables write for a side; photos kept for validation are held out, as those for testing
SPELLINGS = {
    "train": ("train", "training", "trn", "tr"),
    "test": (
        "test", "testing", "tst", "te", "val", "valid", "validation", "dev", "eval", "evaluation", "heldout", "holdout",
    ),
}  # fmt: skip
_SIDES = {spelling: side for side, spellings in SPELLINGS.items() for spelling in spellings}


def choose_table(tables: Sequence[Path]) -> Path | None:
    """Of the tables beside a model the one with the columns of a split; the first where none has them.

    Raises: BadInput where several have them.
    """
    if len(tables) < 2:
        return tables[0] if tables else None
    headers = {table: DelimitedFile(table, COLUMNS).header for table in tables}
    splits = [table for table, header in headers.items() if header.find("filename") and header.find("split")]
    if len(splits) > 1:
        raise BadInput(
            f"expected one table of a split in {splits[0].parent}, got {', '.join(t.name for t in splits)}.\n"
            "Move the others away."
        )
    return splits[0] if splits else tables[0]


def read_split(path: Path) -> dict[str, str]:
    """File name to "train" or "test" from a table with the columns filename and split; rows without an id are skipped.

    Case, separator and encoding may differ. Photos of validation count as "test".

    Raises: BadInput where a column is missing, a side is spelt in another way than `SPELLINGS` say, a name has two
        sides, or the file is damaged.
    """
    table = DelimitedFile(path, COLUMNS)
    name_column, side_column = table.header.find("filename"), table.header.find("split")
    if name_column is None or side_column is None:
        raise BadInput(
            f"expected the columns filename, id, split in {path}, found: "
            f"{', '.join(sorted(filter(None, table.header.columns))) or 'none'}.\n"
            "Correct its first line, or move the file away to split by ingest.test_every."
        )
    id_column = table.header.find("id")
    sides: dict[str, tuple[str, int]] = {}
    for row in table.rows():
        name, written = row.cells[name_column].strip(), row.cells[side_column].strip()
        if not name or (id_column and not row.cells[id_column].strip()):
            continue
        side = _SIDES.get(written.casefold().replace("-", "").replace("_", "").replace(" ", ""))
        if side is None:
            raise BadInput(
                f"expected a side of the split in line {row.line} of {path}, in the column '{side_column}', got "
                f"'{written[:80]}'.\nWrite {', '.join(SPELLINGS['train'])} for photos to train on; "
                f"{', '.join(SPELLINGS['test'])} for photos to hold out. A photo without an id is left out."
            )
        known, line = sides.setdefault(name, (side, row.line))
        if known != side:
            raise BadInput(
                f"expected one side of the split for '{name}' in {path}, got {known} in line {line} and {side} in line "
                f"{row.line}.\nDelete one of the lines."
            )
    return {name: side for name, (side, _) in sides.items()}


def split_photos(split: Mapping[str, str], photos: Sequence[str], table: Path) -> dict[str, str]:
    """Side of each photo of the model, "" for those that the table leaves out.

    Args:
        split: side by the name that the table writes, see `read_split`.
        photos: paths below the photo folder.

    Raises: BadInput where the table names none of the photos, or several names of different sides stand for one.
    """
    names = PhotoNames(photos)
    claims: dict[str, list[tuple[int, str, str]]] = {}
    ambiguous: list[str] = []
    for name, side in split.items():
        match = names.find(name)
        if match.photo is not None:
            claims.setdefault(match.photo, []).append((match.looseness, name, side))
        elif match.candidates:
            ambiguous.append(name)
    if not claims:
        raise BadInput(
            f"expected {table} to name photos of the model, but none of its {len(split)} names is one"
            f"{_nearest(names, split)}.\n"
            "Give the folder that belongs to the table with scene.path=DIR, or move the table away."
        )
    sides = dict.fromkeys(photos, "")
    for photo, found in claims.items():
        closest = min(looseness for looseness, _, _ in found)
        same = [(name, side) for looseness, name, side in found if looseness == closest]
        if len({side for _, side in same}) > 1:
            raise BadInput(
                f"expected one row of {table} for {photo}, got '{same[0][0]}' ({same[0][1]}) and '{same[1][0]}' "
                f"({same[1][1]}).\nGive the photos' paths in the table, so that each row names one."
            )
        sides[photo] = same[0][1]
    for name in ambiguous[:10]:
        log.warning("%s: '%s' fits several photos, and is left out; give its path", table, name)
    left_out = [photo for photo, side in sides.items() if not side]
    if left_out:
        log.info("%s leaves out %d of %d photos, such as %s", table, len(left_out), len(photos), left_out[0])
    return sides


def _nearest(names: PhotoNames, written: Iterable[str]) -> str:
    """An example of a name and its nearest photo, for the message."""
    for name in written:
        near = names.nearest(name)
        return f" (the first, '{name}'" + (f"; the nearest photo: {near})" if near else ")")
    return ""
