"""Artifact folders are whole or not there, whatever happens in between."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from halonerf.artifacts import MANIFEST, ArtifactStore, fingerprint
from halonerf.errors import MissingArtifact, StorageError
from halonerf.files import files_digest, safe_name, write_atomic, write_json


def test_fingerprint_ignores_key_order_and_sees_values():
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 1.5})
    assert len(fingerprint({})) == 16


def test_files_digest_sees_names_and_contents(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")
    files = [tmp_path / "a", tmp_path / "b"]
    before = files_digest(tmp_path, files)
    assert files_digest(tmp_path, files[::-1]) == before
    (tmp_path / "b").write_bytes(b"3")
    changed = files_digest(tmp_path, files)
    (tmp_path / "b").write_bytes(b"2")
    (tmp_path / "b").rename(tmp_path / "c")
    assert len({before, changed, files_digest(tmp_path, [tmp_path / "a", tmp_path / "c"])}) == 3


def test_write_atomic_keeps_the_old_file_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "value.json"
    write_json(path, {"v": 1})

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="space"):
        write_atomic(path, "{}")
    assert path.read_text() == '{\n  "v": 1\n}\n'
    assert [p.name for p in tmp_path.iterdir()] == ["value.json"]


def test_write_json_refuses_nan(tmp_path: Path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"v": float("nan")})


def test_created_folder_appears_at_the_end(tmp_path: Path):
    store = ArtifactStore(tmp_path)
    with store.create("s", "ingest", "k") as partial:
        assert partial is not None
        assert not store.has("s", "ingest", "k")
        write_json(partial / MANIFEST, {"stage": "ingest"})
    assert store.has("s", "ingest", "k")
    assert store.manifest("s", "ingest", "k") == {"stage": "ingest"}
    assert not partial.exists()


def test_failed_work_is_kept_and_not_taken_for_whole(tmp_path: Path):
    store = ArtifactStore(tmp_path)
    with pytest.raises(RuntimeError, match="boom"), store.create("s", "ingest", "k") as partial:
        assert partial is not None
        (partial / "half").write_text("x")
        raise RuntimeError("boom")
    assert not store.has("s", "ingest", "k")
    with pytest.raises(MissingArtifact, match="halonerf stage=ingest"):
        store.manifest("s", "ingest", "k")
    with store.create("s", "ingest", "k") as again:
        assert again is not None
        assert (again / "half").read_text() == "x"
        write_json(again / MANIFEST, {})


def test_finished_output_is_never_made_again(tmp_path: Path):
    store = ArtifactStore(tmp_path)
    with store.create("s", "ingest", "k") as partial:
        assert partial is not None
        write_json(partial / MANIFEST, {"run": 1})
    with store.create("s", "ingest", "k") as second:
        assert second is None
    assert store.manifest("s", "ingest", "k") == {"run": 1}


def _hold(root: str, started: str) -> None:
    with ArtifactStore(Path(root)).create("s", "ingest", "k") as partial:
        assert partial is not None
        (partial / "half").write_text("x")
        Path(started).touch()
        time.sleep(60)


def test_a_second_run_waits_and_a_killed_one_frees_the_lock(tmp_path: Path):
    store, started = ArtifactStore(tmp_path / "store"), tmp_path / "started"
    process = multiprocessing.get_context("spawn").Process(target=_hold, args=(str(store.root), str(started)))
    process.start()
    deadline = time.monotonic() + 60
    while not started.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with pytest.raises(StorageError, match="another run"), store.create("s", "ingest", "k", wait_s=0.2):
        pass
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with store.create("s", "ingest", "k", wait_s=10) as partial:
        assert partial is not None
        assert (partial / "half").exists()
        write_json(partial / MANIFEST, {})
    assert store.has("s", "ingest", "k")


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only"), (errno.EACCES, "permission denied")],
)
def test_storage_failures_become_advice(tmp_path: Path, number: int, advice: str):
    store = ArtifactStore(tmp_path)
    with pytest.raises(StorageError, match=rf"{advice}(.|\n)*artifacts=DIR"), store.create("s", "x", "k") as partial:
        assert partial is not None
        raise OSError(number, os.strerror(number), str(partial / "file"))


def test_other_system_errors_are_not_disguised(tmp_path: Path):
    with pytest.raises(FileNotFoundError), ArtifactStore(tmp_path).create("s", "x", "k"):
        raise FileNotFoundError(errno.ENOENT, "no such file", "photo.jpg")


def test_a_file_in_the_way_is_named(tmp_path: Path):
    (tmp_path / "artifacts").write_text("in the way")
    with pytest.raises(StorageError, match="artifacts"), ArtifactStore(tmp_path / "artifacts").create("s", "x", "k"):
        pass


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cathedral", "cathedral"),
        ("../../etc", "etc"),
        ("Sacré Cœur", "Sacré_Cœur"),
        ("...", "scene"),
        ("é" * 300, "é" * 60),
    ],
)
def test_safe_name(name: str, expected: str):
    assert safe_name(name) == expected
