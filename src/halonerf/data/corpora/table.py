"""Corpora from tables: CSV, TSV, Parquet or JSON lines, with a map from a record's fields to columns."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from halonerf.config.option_types import Text
from halonerf.data.corpora.files import corpus_files, field_text, files_identity
from halonerf.data.delimited import DelimitedFile, file_errors, open_bytes
from halonerf.errors import BadInput, first_line
from halonerf.types import ImageRecord

log = logging.getLogger(__name__)

JSON_LINES_ENDINGS = (".jsonl", ".ndjson")
ENDINGS = (".csv", ".tsv", ".parquet", *JSON_LINES_ENDINGS, ".gz")
RecordField = Literal["image_id", "landmark", "filename", "caption", "categories", "building_type", "labels"]
CHUNK_ROWS = 2_000  # of Parquet, in memory at a time
MAX_LINE_BYTES = 64 << 20  # of JSON lines; longer ones are damage


class Table:
    """A `LabelledCorpus` from a table with any column names.

    Args:
        path: a file, or a folder of files of one layout; CSV, TSV and JSON lines may be gzipped. Separator and encoding
            of CSV and TSV are recognised.
        columns: from `image_id`, `landmark`, `filename`, `caption`, `categories`, `building_type`, `labels` to a
            column or a list of columns (their texts are joined by line breaks). `image_id` is required; other fields
            stay empty without a column. `labels` are weak labels, for scoring.
        separator: between categories, and between labels, in one cell; lists need none.
        where: column to value, as text; only such rows are read.
        name: of the corpus and of the folder of its labels; None: the name of the file or folder.

    Raises: BadInput where no column is named for `image_id`, and while reading for a missing column or a damaged file.
    """

    version = 2

    def __init__(
        self,
        path: Text,
        columns: Mapping[RecordField, str | Sequence[str]],
        separator: Text = ";",
        where: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> None:
        self.files = corpus_files(path, ENDINGS)
        self.name = name or (self.files[0].name.split(".")[0] if len(self.files) == 1 else self.files[0].parent.name)
        if "image_id" not in columns:
            raise BadInput(
                "expected corpus.columns to name a column for image_id, got no image_id.\n"
                "For example: corpus.columns.image_id=path"
            )
        self.columns: dict[str, list[str]] = {
            field: [c] if isinstance(c, str) else list(c) for field, c in columns.items() if c
        }
        self.separator, self.where = separator, {key: str(value) for key, value in (where or {}).items()}

    def identity(self) -> str:
        return files_identity(self.files, columns=self.columns, separator=self.separator, where=self.where)

    def records(self) -> Iterator[ImageRecord]:
        for row in self._rows():
            yield ImageRecord(
                image_id=self._text(row, "image_id"),
                landmark=self._text(row, "landmark"),
                filename=self._text(row, "filename"),
                caption=self._text(row, "caption"),
                categories=self._list(row, "categories"),
                building_type=self._text(row, "building_type"),
            )

    def weak_labels(self) -> Iterator[tuple[str, ...]]:
        for row in self._rows():
            yield self._list(row, "labels")

    def _text(self, row: Mapping[str, Any], field: str) -> str:
        return "\n".join(filter(None, (field_text(row[column]) for column in self.columns.get(field, ()))))

    def _list(self, row: Mapping[str, Any], field: str) -> tuple[str, ...]:
        found: list[str] = []
        for column in self.columns.get(field, ()):
            value = row[column]
            listed = isinstance(value, (list, tuple))
            found += [field_text(v) for v in value] if listed else field_text(value).split(self.separator)
        return tuple(entry.strip() for entry in found if entry.strip())

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        needed = list(dict.fromkeys([c for columns in self.columns.values() for c in columns] + list(self.where)))
        nameless = 0
        for path in self.files:
            for row in _read(path, needed):
                if any(field_text(row[column]) != value for column, value in self.where.items()):
                    continue
                if self._text(row, "image_id"):
                    yield row
                else:
                    nameless += 1
        if nameless:
            log.warning("%s: skipped %d rows without an image_id", self.name, nameless)


def _read(path: Path, needed: list[str]) -> Iterator[Mapping[str, Any]]:
    """Rows of one file, with at least the columns `needed`."""
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    if suffix in JSON_LINES_ENDINGS:
        yield from _json_lines(path, needed)
    elif suffix == ".parquet":
        yield from _parquet(path, needed)
    else:
        yield from _separated(path, needed)


def _separated(path: Path, needed: list[str]) -> Iterator[Mapping[str, Any]]:
    table = DelimitedFile(path, [column.casefold() for column in needed])
    _check(path, needed, table.header.columns)
    for row in table.rows():
        yield row.cells


def _parquet(path: Path, needed: list[str]) -> Iterator[Mapping[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    size = path.stat().st_size
    rows = 0
    try:
        # no text and no list of the file's own description is longer than the file: sizes that a damaged one states
        # are not allocated
        with pyarrow.parquet.ParquetFile(
            path, thrift_string_size_limit=max(size, 1), thrift_container_size_limit=max(size, 1)
        ) as stored:
            _check(path, needed, stored.schema_arrow.names)
            for batch in stored.iter_batches(CHUNK_ROWS, columns=needed):
                for row in batch.to_pylist():
                    rows += 1
                    yield row
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        raise BadInput(
            f"expected a table in Parquet at {path}, but reading fails after row {rows}: {first_line(error)[:300]}.\n"
            "Restore the file, or write it anew."
        ) from error


def _json_lines(path: Path, needed: list[str]) -> Iterator[Mapping[str, Any]]:
    damaged: list[int] = []
    seen: set[str] = set()
    with file_errors(path), open_bytes(path) as stream:
        for number in itertools.count(1):
            line = stream.readline(MAX_LINE_BYTES + 1)
            if not line:
                break
            if len(line) > MAX_LINE_BYTES:
                raise BadInput(
                    f"expected a JSON object per line in {path}, got more than {MAX_LINE_BYTES} bytes in line {number}."
                )
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8-sig", errors="replace"))
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                damaged.append(number)
                continue
            seen |= row.keys() & set(needed)
            yield {column: row.get(column) for column in needed}
    if damaged:
        log.warning("%s: skipped %d lines that are not JSON objects, the first is %d", path, len(damaged), damaged[0])
    _check(path, needed, sorted(seen))  # a line may lack a column, but not all lines


def _check(path: Path, needed: Sequence[str], present: Sequence[str]) -> None:
    missing = [column for column in needed if column not in present]
    if missing:
        raise BadInput(
            f"expected the columns {', '.join(needed)} in {path}, got {', '.join(map(str, present))[:300] or 'none'}; "
            f"missing: {', '.join(missing)}.\nGive the table's columns: corpus.columns.caption=COLUMN"
        )


ORIGINAL_COLUMNS: Mapping[RecordField, str] = {
    "image_id": "fn",
    "landmark": "name",
    "filename": "img_fn",
    "caption": "caption",
    "categories": "cats",
    "building_type": "building_type",
}


class OriginalCsv:
    """A `Corpus` from HaLo-NeRF's metadata table; `image_id` is its `fn`.

    Args:
        path: the CSV file.
        split: only rows with this `spl` (train, val, test); None: all.
        name: of the corpus and of the folder of its labels; None: the file's.
    """

    version = 2

    def __init__(self, path: Text, split: str | None = None, name: str | None = None) -> None:
        self.table = Table(path, ORIGINAL_COLUMNS, ";", None if split is None else {"spl": split}, name)
        self.name = self.table.name

    def identity(self) -> str:
        return self.table.identity()

    def records(self) -> Iterator[ImageRecord]:
        return self.table.records()
