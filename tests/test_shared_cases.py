"""Inputs of odd kinds from `shared/cases` give the right result, or a message that says what is wrong."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fuzz.test_pictures import read_class_numbers, read_photo_facts
from fuzz.test_tables import PHOTOS, read_table
from halonerf.data.sources.photo_metadata import read_metadata
from halonerf.data.sources.split_table import read_split
from halonerf.errors import UserError
from halonerf.masks import read_mask
from helpers.shared_cases import CASES, FOLDER, Case

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"needs {FOLDER} (set HALONERF_SHARED to its parent)")


@pytest.mark.parametrize("case", CASES, ids=[f"{case.folder} {Path(case.line).name}" for case in CASES])
def test_an_odd_input(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    code, result = case.run(tmp_path)
    assert code == case.expected[0]
    assert case.expected[1] in result


READERS: dict[str, Callable[[Path], object]] = {
    "inspect_photo": read_photo_facts,
    "mask": read_mask,
    "numbers": read_class_numbers,
    "metadata_csv": lambda path: read_metadata(path, PHOTOS),
    "split_tsv": read_split,
    "table_csv": read_table,
    "table_tsv": read_table,
    "table_parquet": read_table,
}


@pytest.mark.parametrize("path", sorted((FOLDER / "fuzz").glob("*.bin")), ids=lambda path: path.name)
def test_a_damaged_file_is_read_or_refused(path: Path, tmp_path: Path):
    kind = path.name.split(".")[0]
    copy = tmp_path / (f"file.{kind.split('_')[-1]}" if kind not in ("inspect_photo", "mask", "numbers") else path.name)
    shutil.copyfile(path, copy)
    with contextlib.suppress(UserError):
        READERS[kind](copy)
