"""Rows of a metadata table reach their photos, or are named with the reason."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image

from halonerf.data.collection import Collection
from halonerf.data.formats.names import UNUSED_METADATA
from halonerf.data.sources.photo_folder import PhotoFolder
from halonerf.data.sources.photo_metadata import PhotoMetadata, read_metadata
from halonerf.errors import BadInput

PHOTOS = ["a.jpg", "B.JPG", "Sacré.jpg", "x/c.jpg", "y/c.jpg"]


def read(tmp_path: Path, text: str | bytes) -> PhotoMetadata:
    table = tmp_path / "m.csv"
    table.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_metadata(table, PHOTOS)


def captions(found: PhotoMetadata) -> dict[str, str]:
    return {photo: record.caption for photo, record in found.records.items()}


def test_names_in_other_spellings(tmp_path: Path):
    found = read(tmp_path, "Filename ;CAPTION\nA.JPG;one\nFile:b.jpg;two\nSacre\u0301.jpg;three\nold/x/c.jpg;four\n")
    assert captions(found) == {"a.jpg": "one", "B.JPG": "two", "Sacré.jpg": "three", "x/c.jpg": "four"}
    assert found.unused == []


def test_a_code_page_is_chosen_by_the_photos_names(tmp_path: Path):
    for encoding in ("cp1252", "mac_roman", "cp850", "cp1250"):
        found = read(tmp_path, "filename,caption\nSacré.jpg,Façade\n".encode(encoding, errors="replace"))
        assert list(found.records) == ["Sacré.jpg"], encoding


def test_an_empty_row_does_not_win(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    found = read(tmp_path, "filename,caption,categories\na.jpg,Portal,\na.jpg,,Doors\nB.JPG,,\nB.JPG,Dome,\n")
    assert captions(found) == {"a.jpg": "Portal", "B.JPG": "Dome"}
    assert found.records["a.jpg"].categories == ("Doors",)
    assert caplog.text == ""


def test_a_contradiction_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    assert captions(read(tmp_path, "filename,caption\na.jpg,Portal\nB.JPG,x\na.jpg,Dome\n"))["a.jpg"] == "Portal"
    assert "lines 2 and 4 give a.jpg different texts for 'caption'" in caplog.text


def test_the_row_that_names_a_photo_exactly_counts(tmp_path: Path):
    found = read(tmp_path, "filename,caption\nA.jpg,loose\na.jpg,exact\nz/B.JPG,z\nw/B.JPG,w\n")
    assert captions(found) == {"a.jpg": "exact"}
    assert [(row.line, row.name) for row in found.unused] == [(2, "A.jpg"), (4, "z/B.JPG"), (5, "w/B.JPG")]
    assert "row of its own, line 3" in found.unused[0].reason
    assert "lines 4, 5 name different files" in found.unused[1].reason


def test_rows_without_a_photo_are_named_with_the_nearest(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    found = read(tmp_path, "filename,caption\na.jpg,x\nSacrë.jpg,y\nc.jpg,z\n,w\n")
    assert [(r.line, r.name, r.nearest) for r in found.unused] == [
        (3, "Sacrë.jpg", "Sacré.jpg"),
        (4, "c.jpg", ""),
        (5, "", ""),
    ]
    assert "x/c.jpg, y/c.jpg" in found.unused[1].reason
    assert "line 3, 'Sacrë.jpg': no photo of that name (nearest: Sacré.jpg)" in caplog.text


def test_a_table_of_other_photos_is_refused(tmp_path: Path):
    with pytest.raises(BadInput, match=r"none of its 1 rows.*line 2, 'q\.jpg'"):
        read(tmp_path, "filename,caption\nq.jpg,x\n")


def test_the_separator_is_named_where_no_column_fits(tmp_path: Path):
    with pytest.raises(BadInput, match="separated by semicolon: title, text"):
        read(tmp_path, "title;text\na.jpg;x\n")


def test_long_texts_are_cut_with_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    assert len(captions(read(tmp_path, f"filename,caption\na.jpg,{'x' * 140_000}\n"))["a.jpg"]) == 100_000
    assert "has 140000 characters, of which the first 100000 are used" in caplog.text


def test_the_collection_keeps_texts_and_lists_unused_rows(tmp_path: Path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    out.mkdir()
    Image.new("RGB", (80, 80)).save(photos / "a.jpg")
    table = tmp_path / "m.csv"
    table.write_text(
        "filename,caption,categories\na.jpg,North\u2028portal,Doors\x85of it|Towers\n=q.jpg,x,\n", encoding="utf-8"
    )
    PhotoFolder(str(photos), metadata=str(table)).collect(out)
    (record,) = Collection.read(out).records()
    assert record.caption == "North\u2028portal"
    assert record.categories == ("Doors of it", "Towers")
    with open(out / UNUSED_METADATA, newline="", encoding="utf-8") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["line"], row["name"], row["reason"]) == ("3", "'=q.jpg", "no photo of that name")
