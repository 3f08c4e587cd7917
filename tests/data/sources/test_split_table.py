"""Tables of splits: known spellings are read, all else is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from halonerf.data.sources.split_table import choose_table, read_split, split_photos
from halonerf.errors import BadInput


def table(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "s.tsv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    ("written", "side"),
    [
        ("train", "train"), ("Train", "train"), ("TRAIN", "train"), (" training ", "train"), ("test", "test"),
        ("Test", "test"), ("TESTING", "test"), ("val", "test"), ("Validation", "test"), ("held-out", "test"),
    ],
)  # fmt: skip
def test_known_spellings(tmp_path: Path, written: str, side: str):
    assert read_split(table(tmp_path, f"filename\tid\tsplit\na.jpg\t1\t{written}\n")) == {"a.jpg": side}


@pytest.mark.parametrize("written", ["", "x", "1", "tset", "train,test"])
def test_other_spellings_are_refused(tmp_path: Path, written: str):
    path = table(tmp_path, f"filename\tid\tsplit\na.jpg\t1\ttrain\n\nb.jpg\t2\t{written}\n")
    with pytest.raises(BadInput) as caught:
        read_split(path)
    for part in (f"in line 4 of {path}", f"got '{written}'", "train, training", "val, valid, validation"):
        assert part in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", ["\t", ",", ";"])
def test_forms_of_the_table(tmp_path: Path, encoding: str, separator: str):
    lines = ["FileName\tID\tSplit\tdataset", "é.jpg\t1\tTest\tx", "b.jpg\t2\ttrain\tx", "c.jpg\t\t\tx", "\t\t\t"]
    text = "\r\n".join(lines).replace("\t", separator)
    assert read_split(table(tmp_path, text.encode(encoding))) == {"é.jpg": "test", "b.jpg": "train"}


def test_two_sides_of_one_photo_are_refused(tmp_path: Path):
    with pytest.raises(BadInput, match=r"'a\.jpg'.*train in line 2 and test in line 3"):
        read_split(table(tmp_path, "filename\tsplit\na.jpg\ttrain\na.jpg\ttest\n"))
    path = table(tmp_path, "filename\tsplit\nx/b.jpg\ttrain\ny/b.jpg\ttest\n")
    with pytest.raises(BadInput, match=r"expected one row of .* for b\.jpg"):
        split_photos(read_split(path), ["b.jpg"], path)


def test_names_in_other_spellings(tmp_path: Path):
    path = table(tmp_path, "filename\tsplit\nA.JPG\ttest\nSacre\u0301.jpg\ttrain\n")
    assert split_photos(read_split(path), ["a.jpg", "d/Sacré.jpg", "c.jpg"], path) == {
        "a.jpg": "test", "d/Sacré.jpg": "train", "c.jpg": "",
    }  # fmt: skip


def test_the_table_with_the_columns_is_chosen(tmp_path: Path):
    other, split = tmp_path / "a.tsv", tmp_path / "b.tsv"
    other.write_text("name\tauthor\n")
    split.write_text("filename\tid\tsplit\n")
    assert choose_table([other, split]) == split
    assert choose_table([other]) == other
    assert choose_table([]) is None
    (tmp_path / "c.tsv").write_text("filename\tsplit\n")
    with pytest.raises(BadInput, match=r"expected one table .* got b\.tsv, c\.tsv"):
        choose_table([other, split, tmp_path / "c.tsv"])
