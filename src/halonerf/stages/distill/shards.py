"""Shards of records and of their labels as Parquet files; a killed run loses at most the shards that it works on."""

from __future__ import annotations

import io
import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from halonerf.data.labels.table import storable
from halonerf.files import write_atomic
from halonerf.protocols import LabelDistiller, ShardedDistiller
from halonerf.types import ImageRecord, PseudoLabel

TEXTS = ("image_id", "landmark", "filename", "caption", "building_type")
LABELS, RECORDS = "labels", "records"  # folders below parts/ in the stage's folder
_METADATA_KEY = b"halonerf"


class LabelShard(NamedTuple):
    """The labels of one shard.

    groups: labels of each record, best first. seconds: the distiller's time. counts: what its counters grew by for this
    shard, to be summed over shards.
    """

    groups: list[list[PseudoLabel]]
    seconds: float
    counts: dict[str, float]


class LabelShards:
    """The shards in a stage's folder, each named by the index of its first record; files are written atomically."""

    def __init__(self, folder: Path) -> None:
        self.labels, self.records = folder / "parts" / LABELS, folder / "parts" / RECORDS

    def done(self, first: int) -> bool:
        """Whether the labels of a shard have been written."""
        return _named(self.labels, first).is_file()

    def write(self, first: int, shard: LabelShard) -> None:
        """Write the labels of a shard."""
        import pyarrow

        rows = [(place, label) for place, group in enumerate(shard.groups) for label in group]
        columns = {
            "record": pyarrow.array([place for place, _ in rows], pyarrow.int32()),
            "image_id": pyarrow.array([storable(label.image_id) for _, label in rows], pyarrow.string()),
            "label": pyarrow.array([storable(label.label) for _, label in rows], pyarrow.string()),
            "confidence": pyarrow.array([label.confidence for _, label in rows], pyarrow.float64()),
            "evidence": pyarrow.array([storable(label.evidence) for _, label in rows], pyarrow.string()),
        }
        figures = {"records": len(shard.groups), "seconds": shard.seconds, "counts": shard.counts}
        table = pyarrow.table(columns).replace_schema_metadata({_METADATA_KEY: json.dumps(figures)})
        _write(_named(self.labels, first), table)

    def read(self, first: int) -> LabelShard:
        """Read the labels of a shard that is done."""
        table = _read(_named(self.labels, first))
        figures = json.loads(table.schema.metadata[_METADATA_KEY])
        groups: list[list[PseudoLabel]] = [[] for _ in range(figures["records"])]
        places, *columns = (table.column(name).to_pylist() for name in table.column_names)
        for place, row in zip(places, zip(*columns, strict=True), strict=True):
            groups[place].append(PseudoLabel(*row))
        return LabelShard(groups, figures["seconds"], figures["counts"])

    def write_records(self, records: Iterable[ImageRecord], size: int) -> int:
        """Write the records of all shards of `size` records without labels; returns the number of all records."""
        stream, count = iter(records), 0
        while chunk := list(islice(stream, size)):
            path = _named(self.records, count)
            if not self.done(count) and not path.is_file():
                _write(path, _record_table(chunk))
            count += len(chunk)
        return count

    def read_records(self, first: int) -> list[ImageRecord]:
        """Read the records of a shard, unchanged."""
        columns = _read(_named(self.records, first)).to_pydict()
        texts = [[_text(cell) for cell in columns[name]] for name in TEXTS]
        categories = [tuple(map(_text, cell)) for cell in columns["categories"]]
        return [
            ImageRecord(**dict(zip(TEXTS, row, strict=True)), categories=listed)
            for *row, listed in zip(*texts, categories, strict=True)
        ]

    def delete_records(self) -> None:
        """Delete the shards of records; the labels are kept."""
        shutil.rmtree(self.records, ignore_errors=True)


def distill_shard(distiller: LabelDistiller, records: Sequence[ImageRecord]) -> LabelShard:
    """Label the records of a shard, with the time taken and the growth of a `ShardedDistiller`'s counters."""
    count: Callable[[], Mapping[str, float]] = distiller.counts if isinstance(distiller, ShardedDistiller) else dict
    before, started = count(), time.perf_counter()
    labels = distiller.distill(records)
    seconds = time.perf_counter() - started
    return LabelShard(group_by_record(records, labels, type(distiller).__name__), seconds, _difference(count(), before))


def group_by_record(
    records: Sequence[ImageRecord], labels: Sequence[PseudoLabel], name: str
) -> list[list[PseudoLabel]]:
    """Group labels in the records' order by record, at least one each.

    Raises: AssertionError where the distiller `name` violates the contract of `LabelDistiller`.
    """
    groups: list[list[PseudoLabel]] = []
    place = 0
    for index, record in enumerate(records):
        later = len(records) - index - 1  # records that still need a label each; two records may share an id
        start = place
        while place < len(labels) - later and labels[place].image_id == record.image_id:
            place += 1
        if start == place:
            raise AssertionError(f"{name} gave no label for {record.image_id!r}, or not in the records' order")
        groups.append(list(labels[start:place]))
    if place < len(labels):
        raise AssertionError(f"{name} gave labels for {labels[place].image_id!r}, out of the records' order")
    return groups


def _difference(after: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    return {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}


def _record_table(records: Sequence[ImageRecord]) -> Any:
    """Texts are stored as bytes: metadata may contain lone surrogates, which have no UTF-8, and must not change."""
    import pyarrow

    columns: dict[str, Any] = {
        name: pyarrow.array([_bytes(getattr(record, name)) for record in records], pyarrow.large_binary())
        for name in TEXTS
    }
    listed = [[_bytes(category) for category in record.categories] for record in records]
    columns["categories"] = pyarrow.array(listed, pyarrow.large_list(pyarrow.large_binary()))
    return pyarrow.table(columns)


def _write(path: Path, table: Any) -> None:
    import pyarrow.parquet

    sink = io.BytesIO()
    pyarrow.parquet.write_table(table, sink, compression="zstd")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, sink.getvalue())


def _read(path: Path) -> Any:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as stored:
        return stored.read(use_threads=False)  # small files: threads cost more than they save


def _named(folder: Path, first: int) -> Path:
    return folder / f"{first:08d}.parquet"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", errors="surrogatepass")


def _text(cell: bytes) -> str:
    return cell.decode("utf-8", errors="surrogatepass")
