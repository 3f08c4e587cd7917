"""A run that is killed in the middle leaves nothing half-made behind, and the next one ends as if nothing had been."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from halonerf.data.scene.scene import Scene

PHOTOS = 16
QUICK = (
    "scene=cathedral",
    f"scene.photos={PHOTOS}",
    "scene.samples=4",
    "scene.close_ups=0.1",
    "segment.concepts=[portal,window]",
    "ingest.features=2000",
    "ingest.size=160",
    "reconstruct.steps=120",
    "reconstruct.epoch_steps=30",
    "field.budget=6000",
)


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # sums in one order
    return subprocess.Popen(
        [sys.executable, "-m", "halonerf.cli", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def finish(folder: Path, *arguments: str) -> Path:
    process = start(folder, *arguments)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0
    return Path(output.decode().splitlines()[-1])


def kill_in(folder: Path, stage: str, sign: str, *arguments: str) -> Path:
    """Run, and kill all of it as soon as the stage's partial folder holds a file that matches `sign`."""
    process = start(folder, f"stage={stage}", *arguments)
    deadline = time.monotonic() + 300
    pattern = f"artifacts/*/{stage}/*.partial"
    while not any(any(partial.glob(sign)) for partial in folder.glob(pattern)):
        assert process.poll() is None, f"{stage} ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (partial,) = folder.glob(pattern)
    assert not (partial / "manifest.json").exists()
    assert not partial.with_suffix("").exists()
    return partial


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose `artifacts` hold the photographed landmark, to copy into each test's own."""
    folder = tmp_path_factory.mktemp("collection")
    finish(folder, "stage=collect", *QUICK)
    return folder


@pytest.fixture(scope="module")
def uninterrupted(collection: Path) -> dict[str, Path]:
    return {
        stage: finish(collection, f"stage={stage}", *QUICK) for stage in ("ingest", "distill", "reconstruct", "segment")
    }


@pytest.fixture
def folder(uninterrupted: dict[str, Path], tmp_path: Path) -> Path:
    """A fresh working folder that shares the finished artifacts through links."""
    for artifact in uninterrupted["ingest"].parents[2].glob("*/*/*/"):
        target = tmp_path / "artifacts" / artifact.relative_to(uninterrupted["ingest"].parents[2])
        target.parent.mkdir(parents=True, exist_ok=True)
        if artifact.is_dir() and not artifact.name.endswith(".partial"):
            target.symlink_to(artifact)
    return tmp_path


def forget(folder: Path, stage: str) -> None:
    for link in (folder / "artifacts").glob(f"*/{stage}/*"):
        link.unlink()


def test_ingest(folder: Path, uninterrupted: dict[str, Path]):
    forget(folder, "ingest")
    kill_in(folder, "ingest", "work/matches-0.done", *QUICK)
    again = finish(folder, "stage=ingest", *QUICK)
    first, second = Scene(uninterrupted["ingest"]), Scene(again)
    assert json.loads((again / "manifest.json").read_text())["resumed"] is True
    assert first.names == second.names
    assert len(first.points) == len(second.points)
    np.testing.assert_allclose(first.points.numpy(), second.points.numpy(), atol=1e-5)
    for one, other in zip(first.views, second.views, strict=True):
        np.testing.assert_allclose(one.camera_to_world.numpy(), other.camera_to_world.numpy(), atol=1e-5)


def test_reconstruct(folder: Path, uninterrupted: dict[str, Path]):
    forget(folder, "reconstruct")
    kill_in(folder, "reconstruct", "checkpoints/last.ckpt", *QUICK)
    again = finish(folder, "stage=reconstruct", *QUICK)
    first = load_file(uninterrupted["reconstruct"] / "field.safetensors")
    second = load_file(again / "field.safetensors")
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        np.testing.assert_allclose(second[name], tensor, rtol=1e-4, atol=1e-5, err_msg=name)


def test_segment(folder: Path, uninterrupted: dict[str, Path]):
    forget(folder, "segment")
    partial = kill_in(folder, "segment", "maps/00003.npz", *QUICK)
    kept = {path.name: path.stat().st_mtime_ns for path in (partial / "photos").glob("[!.]*.json")}
    assert 3 <= len(kept) < PHOTOS
    again = finish(folder, "stage=segment", *QUICK)
    assert {n: (again / "photos" / n).stat().st_mtime_ns for n in kept} == kept, "finished photos are not done again"
    for path in (uninterrupted["segment"] / "maps").glob("*.npz"):
        with np.load(path) as one, np.load(again / "maps" / path.name) as other:
            np.testing.assert_array_equal(one["probability"], other["probability"])
    choices = []
    for artifact in (uninterrupted["segment"], again):
        with open(artifact / "choice.csv", newline="") as stream:
            choices.append(list(csv.DictReader(stream)))
    assert choices[0] == choices[1]
