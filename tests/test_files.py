"""Tables, atomic files and cells of CSV."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halonerf.files import MAX_CELL_CHARS, atomic_path, escape_cell, read_csv, unescape_cell, write_csv, write_json

ROWS = [
    {"name": "=1+1", "text": "two\nlines, and a comma"},
    {"name": "'-x", "text": ""},
    {"name": "plain", "text": "ü"},
]


@pytest.mark.parametrize("escape", [True, False])
def test_tables_are_read_back(tmp_path: Path, escape: bool):
    write_csv(tmp_path / "t.csv", ("name", "text"), ROWS, escape=escape)
    assert list(read_csv(tmp_path / "t.csv", escaped=escape)) == ROWS
    assert ("'=1+1" in (tmp_path / "t.csv").read_text(encoding="utf-8")) == escape


@given(st.text(alphabet="'=+-@\t\rab"))
def test_escaped_cells_are_restored_and_never_formulas(cell: str):
    escaped = escape_cell(cell)
    assert unescape_cell(escaped) == cell
    assert not escaped.startswith(("=", "+", "-", "@", "\t", "\r"))


def test_long_cells_are_cut_and_short_rows_filled(tmp_path: Path):
    write_csv(tmp_path / "t.csv", ("name", "text"), [{"name": "a" * (MAX_CELL_CHARS + 1)}], escape=True)
    (row,) = read_csv(tmp_path / "t.csv")
    assert (len(row["name"]), row["text"]) == (MAX_CELL_CHARS, "")
    (tmp_path / "short.csv").write_text("name,text\na\n")
    assert list(read_csv(tmp_path / "short.csv")) == [{"name": "a", "text": ""}]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path):
    path = tmp_path / "a.json"
    write_json(path, {"kept": True})
    with pytest.raises(ValueError, match="Out of range"):
        write_json(path, {"kept": float("nan")})
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert "true" in path.read_text()
    assert list(tmp_path.iterdir()) == [path]
