"""Damaged tables give rows or BadInput, within bounds of time and memory."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas
import pytest

from fuzz.mutants import check_reader
from halonerf.data.corpora.table import Table
from halonerf.data.sources.photo_metadata import read_metadata
from halonerf.data.sources.split_table import read_split, split_photos

pytestmark = pytest.mark.slow

PHOTOS = [f"p{i:02d}.jpg" for i in range(12)]
ROWS = [
    {
        "filename": name,
        "caption": f'A façade, "seen" at\nnight, {i}',
        "categories": "Facades|Churches",
        "landmark": "Notre-Dame",
        "building_type": "church",
    }
    for i, name in enumerate(PHOTOS)
]
COLUMNS = {"image_id": "filename", "caption": "caption", "categories": "categories"}


def written(ending: str) -> bytes:
    frame = pandas.DataFrame(ROWS)
    if ending == ".parquet":
        stream = io.BytesIO()
        frame.to_parquet(stream)
        return stream.getvalue()
    if ending == ".jsonl":
        return "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    return frame.to_csv(index=False, sep="\t" if ending == ".tsv" else ",").encode()


def read_table(path: Path) -> None:
    records = list(Table(str(path), COLUMNS).records())
    assert all(isinstance(record.caption, str) for record in records)


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet", ".jsonl"])
def test_damaged_tables(tmp_path: Path, ending: str):
    outcomes = check_reader(read_table, [written(ending)], tmp_path / f"table{ending}")
    assert {"read", "BadInput"} <= outcomes.keys()


def test_damaged_metadata(tmp_path: Path):
    def read(path: Path) -> None:
        found = read_metadata(path, PHOTOS)
        assert found.records.keys() <= set(PHOTOS)

    samples = [written(".csv"), pandas.DataFrame(ROWS).to_csv(index=False, sep=";").encode("cp1252")]
    outcomes = check_reader(read, samples, tmp_path / "metadata.csv")
    assert {"read", "BadInput"} <= outcomes.keys()


def test_damaged_split(tmp_path: Path):
    lines = ["filename\tid\tsplit\tdataset"]
    lines += [f"{name}\t{i}\t{'test' if i % 3 == 0 else 'train'}\tx" for i, name in enumerate(PHOTOS)]

    def read(path: Path) -> None:
        split = read_split(path)
        assert set(split_photos(split, PHOTOS, path).values()) <= {"train", "test", ""} if split else True

    outcomes = check_reader(read, ["\n".join(lines).encode()], tmp_path / "split.tsv")
    assert {"read", "BadInput"} <= outcomes.keys()
