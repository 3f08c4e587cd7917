"""The fuzz itself: it repeats, it damages, and it sees what a reader must not do."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import fuzz.mutants
from fuzz.mutants import check_reader, mutants
from halonerf.errors import BadInput

TABLE = b"name,split\n" + b"".join(b"photo%d.jpg,train\n" % i for i in range(200))


@pytest.mark.parametrize("data", [b"", b"x", TABLE, bytes(range(256)) * 8])
def test_mutants_repeat_and_differ(data: bytes):
    found = list(mutants(data, 3, 300))
    assert found == list(mutants(data, 3, 300))
    assert found != list(mutants(data, 4, 300))
    assert len(found) == 300
    if len(data) > 1:
        assert len(set(found)) > 270
        assert sum(mutant == data for mutant in found) < 15
        assert min(map(len, found)) < len(data) < max(map(len, found))


def test_documented_errors_are_counted(tmp_path: Path):
    def read(path: Path) -> None:
        if not path.read_bytes().startswith(TABLE[:40]):
            raise BadInput("expected a table")

    outcomes = check_reader(read, [TABLE], tmp_path / "t.csv", count=200)
    assert outcomes["read"] + outcomes["BadInput"] == 200
    assert min(outcomes.values()) > 20


def broken(path: Path) -> None:
    path.read_bytes().decode("ascii")


def silent(path: Path) -> None:
    raise BadInput(" ")


def slow(path: Path) -> None:
    try:
        time.sleep(1)
    except TimeoutError as error:  # as a reader that takes every error for damage
        raise BadInput("damaged") from error


def greedy(path: Path) -> None:
    bytearray(1 << 34)


@pytest.mark.parametrize(
    ("read", "message"),
    [(broken, "UnicodeDecodeError"), (silent, "without a message"), (slow, "more than"), (greedy, "MemoryError")],
)
def test_faults_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read, message: str):
    monkeypatch.setattr(fuzz.mutants, "SECONDS", 0.05)
    with pytest.raises(AssertionError, match=message):
        check_reader(read, [TABLE], tmp_path / "t.csv", count=100 if read is broken else 3)
