"""Who took the photos of a collection, and on which terms they may be passed on: `attribution.csv`.

The table travels with whatever is made of the photos. Its columns:

    photo         image id in the collection
    title         of the file on the wiki
    author        as the wiki names them
    credit        the words that the author asks for, or the source
    licence       short name, such as "CC BY-SA 4.0"
    licence_url   its text
    restrictions  of another kind than copyright, such as "personality"
    source_url    the page that people can read about the photo
    changes       made before it came into the collection; empty: none

Cells that a spreadsheet would run are made harmless (`halonerf.files`); `read_attribution` undoes it.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from halonerf.data.collection import LONGEST
from halonerf.errors import MissingArtifact
from halonerf.files import escape_cell, unescape_cell, write_csv

NAME = "attribution.csv"


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
    """Write the table of a collection, or of what was made of it."""
    write_safe_csv(folder / NAME, Attribution._fields, [row._asdict() for row in rows])


def read_attribution(folder: Path) -> list[Attribution]:
    """The table in `folder`.

    Raises: MissingArtifact where there is none.
    """
    path = folder / NAME
    if not path.is_file():
        raise MissingArtifact(
            f"expected a table of authors and licences at {path}.\n"
            "Collections of Wikimedia Commons have one: halonerf stage=collect corpus=commons corpus.category=…"
        )
    with open(path, newline="", encoding="utf-8") as stream:
        rows = csv.DictReader(stream)
        return [Attribution(**{key: unescape_cell(row.get(key) or "") for key in Attribution._fields}) for row in rows]


def credit_line(row: Attribution) -> str:
    """A line to print beside the photo: author, title, licence, source, changes."""
    by = row.credit if row.credit and not row.author else row.author
    parts = [row.title, by and f"by {by}", row.licence, row.licence_url, row.source_url, row.changes]
    return ", ".join(part for part in parts if part)


def write_safe_csv(path: Path, fields: Sequence[str], rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows as CSV that no spreadsheet runs."""
    write_csv(path, fields, [{key: escape_cell(str(value))[:LONGEST] for key, value in row.items()} for row in rows])
