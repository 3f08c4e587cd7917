"""CSV and TSV files as spreadsheets write them are read; damaged ones are refused with their line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from halonerf.data.delimited import DelimitedFile, detect_encoding
from halonerf.errors import BadInput

WANTED = ("filename", "caption")


def read(path: Path, data: bytes | str) -> list[tuple[int, dict[str, str]]]:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return [tuple(row) for row in DelimitedFile(path, WANTED).rows()]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_separators_and_line_ends(tmp_path: Path, separator: str, end: str):
    lines = ["filename,caption", 'a.jpg,"north, south; east | west\tup"', "", "b.jpg,", "c.jpg"]
    text = end.join(line if '"' in line and separator == "," else line.replace(",", separator, 1) for line in lines)
    assert read(tmp_path / "t.csv", text) == [
        (2, {"filename": "a.jpg", "caption": "north, south; east | west\tup"}),
        (4, {"filename": "b.jpg", "caption": ""}),
        (5, {"filename": "c.jpg", "caption": ""}),
    ]


def test_excels_mark_of_the_separator(tmp_path: Path):
    assert read(tmp_path / "t.csv", "sep=;\r\nfilename;caption\r\na.jpg;b, c\r\n") == [
        (3, {"filename": "a.jpg", "caption": "b, c"})
    ]


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85", "\v", "\f", "\x1c", "\x1d", "\x1e", "\0"])
def test_signs_that_python_takes_for_line_ends_are_text(tmp_path: Path, sign: str):
    rows = read(tmp_path / "t.csv", f"filename,caption,more\na.jpg,one{sign}two,x\nb.jpg,three,y\n")
    assert [row["caption"] for _, row in rows] == [f"one{sign}two", "three"]
    assert [row["more"] for _, row in rows] == ["x", "y"]


def test_a_cell_of_many_lines_keeps_the_count(tmp_path: Path):
    rows = read(tmp_path / "t.csv", 'filename,caption\na.jpg,"one\ntwo ""x""\r\nthree"\nb.jpg,y\n')
    assert [line for line, _ in rows] == [2, 5]
    assert rows[0][1]["caption"] == 'one\ntwo "x"\r\nthree'


def test_huge_cells_are_read(tmp_path: Path):
    (row,) = read(tmp_path / "t.csv", f'filename,caption\na.jpg,"{"x" * 300_000}"\n')
    assert len(row[1]["caption"]) == 300_000


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "iso8859-15"]
)
def test_western_encodings(tmp_path: Path, encoding: str):
    text = "filename,caption\nSacré.jpg,Façade de l'église\n"
    assert read(tmp_path / "t.csv", text.encode(encoding)) == [
        (2, {"filename": "Sacré.jpg", "caption": "Façade de l'église"})
    ]


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1251", "Портал собора и купол"),
        ("cp1253", "Πύλη του ναού και τρούλος της εκκλησίας"),
        ("cp932", "大聖堂の正面入口と塔"),
    ],
)
def test_other_scripts(encoding: str, text: str):
    sample = f"filename,caption\na.jpg,{text}\n".encode(encoding)
    assert sample.decode(detect_encoding(sample)).endswith(f"{text}\n")


def test_known_names_tell_code_pages_apart():
    sample = "filename,caption\nPrůčelí.jpg,Věž\n".encode("cp1250")
    assert detect_encoding(sample, lambda text: "Průčelí.jpg" in text) == "cp1250"


def test_a_code_page_is_named_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    read(tmp_path / "t.csv", "filename\nSacré.jpg\n".encode("cp1252"))
    assert "is not UTF-8 and is read as cp1252" in caplog.text


def test_utf8_with_a_damaged_letter_stays_utf8(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    rows = read(tmp_path / "t.csv", "filename,caption\na.jpg,Façade\nb.jpg,é".encode() + b"\xff\nc.jpg,\xc3\xa9\n")
    assert [row["caption"] for _, row in rows] == ["Façade", "é\ufffd", "é"]
    assert "the first in line 3" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('filename,caption\na.jpg,x\nb.jpg,"open\nc.jpg,y\n', "begins in line 3"),
        ('filename,caption\na.jpg,"x"y\n', "begins in line 2"),
        ("filename,caption\na.jpg,Portal, west\n", "at most 2 cells in line 2"),
        ("filename,caption,Caption\na.jpg,x,y\n", "(?i)'caption' twice"),
        (f'filename,caption\na.jpg,"{"x" * (1 << 24)}x"\n', "begins in line 2"),
    ],
)
def test_what_needs_a_guess_is_refused_with_its_line(tmp_path: Path, text: str, message: str):
    with pytest.raises(BadInput, match=message) as caught:
        read(tmp_path / "t.csv", text)
    assert str(tmp_path / "t.csv") in str(caught.value)


def test_empty_cells_beyond_the_header_are_ignored(tmp_path: Path):
    assert read(tmp_path / "t.csv", "filename,caption\na.jpg,x,,\n,,,\n") == [
        (2, {"filename": "a.jpg", "caption": "x"})
    ]


def test_damaged_gzip_is_refused(tmp_path: Path):
    whole = gzip.compress(b"filename,caption\n" + b"a.jpg,x\n" * 1000)
    for data in (whole[:-20], b"no gzip", whole[:40] + b"\0\0\0\0" + whole[44:], b""):
        with pytest.raises(BadInput, match="cannot be read") if data else pytest.raises(StopIteration):
            rows = iter(read(tmp_path / "t.csv.gz", data))
            next(rows)
    with pytest.raises(BadInput, match="cannot be read: No such file"):
        DelimitedFile(tmp_path / "missing.csv", WANTED)
