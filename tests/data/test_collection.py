"""Collections are read back as they were written, with the cells of their tables escaped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from halonerf.data.collection import Collection, write_collection
from halonerf.data.photo_io import can_open
from halonerf.types import ImageRecord

RECORDS = [
    ImageRecord("-a/ü.jpg", "=place", "@b.jpg", "=HYPERLINK(1)\n+two", ("-x", "y"), "cathedral"),
    ImageRecord("b.jpg", "place", "b.jpg"),
]


def test_a_collection_is_read_back(tmp_path: Path):
    truth = {"-a/ü.jpg": "=dome", "b.jpg": ""}
    write_collection(tmp_path, "name", "photos", RECORDS, masks="masks", concepts=("dome",), truth=truth)
    collection = Collection.read(tmp_path)
    assert collection.records() == RECORDS
    assert collection.truth() == truth
    assert (collection.photos, collection.masks, collection.model) == (tmp_path / "photos", tmp_path / "masks", None)
    for line in (tmp_path / "records.csv").read_text(encoding="utf-8").splitlines():
        assert not line.startswith(("=", "+", "-", "@")) or line.startswith("+two")  # the second line of a quoted cell


def test_a_collection_without_truth(tmp_path: Path):
    write_collection(tmp_path, "name", tmp_path / "elsewhere", RECORDS)
    assert Collection.read(tmp_path).truth() == {}
    assert Collection.read(tmp_path).photos == tmp_path / "elsewhere"


@pytest.mark.parametrize(("content", "readable"), [("photo", True), ("text", False), ("empty", False)])
def test_can_open_reads_the_header(tmp_path: Path, content: str, readable: bool):
    path = tmp_path / "a.jpg"
    if content == "photo":
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)
    else:
        path.write_text("not a photo" if content == "text" else "")
    assert can_open(path) == readable
    assert not can_open(tmp_path / "missing.jpg")
