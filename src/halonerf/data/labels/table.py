"""The table of labels, `labels.csv` or `labels.parquet`, written and read row by row.

In CSV, cells that a spreadsheet would run as formulas are escaped (`halonerf.files.escape_cell`), which other programs
must undo; Parquet holds all cells unchanged.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from halonerf.errors import BadInput
from halonerf.files import atomic_path, escape_cell, read_csv
from halonerf.types import PseudoLabel

FIELDS = ("image_id", "label", "confidence", "evidence")
TABLES = ("csv", "parquet")
ROWS_PER_GROUP = 50_000  # of a Parquet file; what is in memory at a time


def write_labels(path: Path, labels: Iterable[PseudoLabel]) -> None:
    """Atomically write labels as CSV or Parquet, by the ending of `path`; memory is that of one group of rows."""
    with atomic_path(path) as temporary:
        if path.suffix == ".parquet":
            _write_parquet(temporary, labels)
            return
        with open(temporary, "w", newline="", encoding="utf-8", errors="replace") as stream:
            writer = csv.writer(stream)
            writer.writerow(FIELDS)
            writer.writerows(
                (escape_cell(row.image_id), escape_cell(row.label), f"{row.confidence:.4f}", escape_cell(row.evidence))
                for row in labels
            )


def read_label_rows(path: Path) -> Iterator[PseudoLabel]:
    """Rows of a table of labels, one at a time; where `labels.csv` is missing, of the `labels.parquet` beside it."""
    table = path.with_suffix(".parquet")
    if path.suffix == ".csv" and (path.is_file() or not table.is_file()):
        for row in read_csv(path, escaped=True):
            yield PseudoLabel(row["image_id"], row["label"], float(row["confidence"]), row["evidence"])
        return
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(table) as stored:
        for batch in stored.iter_batches(ROWS_PER_GROUP, columns=list(FIELDS)):
            yield from (PseudoLabel(**row) for row in batch.to_pylist())


def read_labels(path: Path) -> list[PseudoLabel]:
    """All rows of a table of labels; see `read_label_rows`."""
    return list(read_label_rows(path))


def labels_by_photo(path: Path, min_confidence: float = 0.0) -> dict[str, list[str]]:
    """Labels of each photo of at least `min_confidence`, each once; photos without any are absent."""
    found: dict[str, list[str]] = {}
    for row in read_label_rows(path):
        known = found.setdefault(row.image_id, []) if row.label and row.confidence >= min_confidence else None
        if known is not None and row.label not in known:
            known.append(row.label)
    return found


def best_labels(labels: Sequence[PseudoLabel]) -> dict[str, str]:
    """Most confident label of each photo by image id; of ties the first."""
    best: dict[str, PseudoLabel] = {}
    for label in labels:
        if label.image_id not in best or label.confidence > best[label.image_id].confidence:
            best[label.image_id] = label
    return {image_id: label.label for image_id, label in best.items()}


def table_path(folder: Path, table: str) -> Path:
    """Path of the table of labels in `folder`: `labels.csv` or `labels.parquet`.

    Raises: BadInput for another kind of table.
    """
    if table not in TABLES:
        raise BadInput(f"expected distill.table of {' or '.join(TABLES)}, got '{table}'.")
    return folder / f"labels.{table}"


def storable(text: str) -> str:
    """`text` with lone surrogates replaced, which cannot be encoded."""
    return text.encode("utf-8", errors="replace").decode()


def frequent_labels(path: Path, photos: set[str], min_photos: int) -> list[str]:
    """Labels of at least `min_photos` of `photos`, the most frequent first, ties sorted."""
    pairs = {(row.image_id, row.label) for row in read_label_rows(path) if row.label and row.image_id in photos}
    counts = Counter(label for _, label in pairs)
    return sorted((label for label, count in counts.items() if count >= min_photos), key=lambda k: (-counts[k], k))


def _write_parquet(path: Path, labels: Iterable[PseudoLabel]) -> None:
    import pyarrow
    import pyarrow.parquet

    kinds = (pyarrow.string(), pyarrow.string(), pyarrow.float64(), pyarrow.string())
    schema = pyarrow.schema(list(zip(FIELDS, kinds, strict=True)))
    rows = iter(labels)
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        while group := list(islice(rows, ROWS_PER_GROUP)):
            columns = {
                "image_id": [storable(row.image_id) for row in group],
                "label": [storable(row.label) for row in group],
                "confidence": [row.confidence for row in group],
                "evidence": [storable(row.evidence) for row in group],
            }
            writer.write_table(pyarrow.table(columns, schema=schema))
