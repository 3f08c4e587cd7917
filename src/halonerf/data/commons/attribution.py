"""Authors and licences of a collection's photos: `attribution.csv`, which results that show photos must carry along.

Columns:

    photo         image id in the collection
    title         of the file on the wiki
    author        as the wiki states it
    credit        attribution text that the author demands, or the source
    licence       short name, such as "CC BY-SA 4.0"
    licence_url   its text
    restrictions  of another kind than copyright, such as "personality"
    source_url    page of the photo on the wiki
    changes       made to the original; empty: none

Cells that a spreadsheet would run as formulas are escaped (`halonerf.files.escape_cell`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from halonerf.errors import MissingArtifact
from halonerf.files import read_csv, write_csv

ATTRIBUTION = "attribution.csv"


class Attribution(NamedTuple):
    """A row of the table."""

    photo: str
    title: str = ""
    author: str = ""
    credit: str = ""
    licence: str = ""
    licence_url: str = ""
    restrictions: str = ""
    source_url: str = ""
    changes: str = ""


def write_attribution(folder: Path, rows: Sequence[Attribution]) -> None:
    """Write `attribution.csv` into the folder of a collection, or of a result that shows its photos."""
    write_csv(folder / ATTRIBUTION, Attribution._fields, [row._asdict() for row in rows], escape=True)


def read_attribution(folder: Path) -> list[Attribution]:
    """Rows of `attribution.csv` in `folder`.

    Raises: MissingArtifact where there is none.
    """
    path = folder / ATTRIBUTION
    if not path.is_file():
        raise MissingArtifact(
            f"expected a table of authors and licences at {path}.\n"
            "Collections of Wikimedia Commons have one: halonerf stage=collect corpus=commons corpus.category=…"
        )
    rows = read_csv(path, escaped=True)
    return [Attribution(**{key: row.get(key, "") for key in Attribution._fields}) for row in rows]


def credit_line(row: Attribution) -> str:
    """Credit of a photo in one line: title, author, licence, source, changes."""
    by = row.credit if row.credit and not row.author else row.author
    parts = [row.title, by and f"by {by}", row.licence, row.licence_url, row.source_url, row.changes]
    return ", ".join(part for part in parts if part)
