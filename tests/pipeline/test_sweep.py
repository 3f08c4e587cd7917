"""A sweep's jobs that fail: each told with its number and options, the others done, one summary, exit code 2."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from halonerf.errors import BadInput
from halonerf.pipeline.sweep import FailedJobs
from halonerf.process.signals import MESSAGE, descendants

Cli = Callable[..., subprocess.CompletedProcess[str]]


def sweep_config(folder: Path, mode: RunMode = RunMode.MULTIRUN, number: int = 3) -> DictConfig:
    return OmegaConf.create({"hydra": {"mode": mode, "job": {"num": number}, "sweep": {"dir": str(folder)}}})


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_the_other_jobs_go_on(halonerf: Cli, tmp_path: Path, launcher: str):
    options = []
    if launcher == "joblib":
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
        options = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    for place in ("photos", "more"):
        (tmp_path / place).mkdir()
        pixels = np.random.default_rng(len(place)).integers(0, 255, (240, 320, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / place / "a.jpg")
    shown = halonerf("-m", "stage=collect", "scene=photos", "scene.path=photos,nowhere,more", "artifacts=a", *options)
    assert shown.returncode == 2, shown.stderr
    assert "Traceback" not in shown.stderr
    assert shown.stderr.count("found nothing") == 2, "once at its time, once in the summary"
    name = "job 1 (stage=collect scene=photos scene.path=nowhere artifacts=a)"
    assert f"halonerf: {name}: expected a folder of photos at nowhere" in shown.stderr
    *_, heading, last = shown.stderr.splitlines()
    assert heading == "halonerf: 1 of the sweep's jobs failed; the others are done:"
    assert last.startswith(f"  {name}: expected")
    assert len([line for line in shown.stdout.splitlines() if "/collect/" in line]) == 2


def failed(error: Exception) -> JobReturn:
    job = JobReturn(overrides=["seed=1"], status=JobStatus.FAILED)
    try:
        raise error
    except Exception as raised:
        job.return_value = raised
    return job


def test_errors_of_the_program_keep_their_traceback_and_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    callback = FailedJobs()
    callback.on_multirun_start(sweep_config(tmp_path))
    for number, error in ((3, ZeroDivisionError("by us")), (2, BadInput("by you"))):
        job = failed(error)
        callback.on_job_end(sweep_config(tmp_path / "elsewhere", number=number), job)
        assert (job.status, job.return_value) == (JobStatus.COMPLETED, None)
    with pytest.raises(SystemExit) as caught:
        callback.on_multirun_end(sweep_config(tmp_path))
    assert caught.value.code == 1
    told = capsys.readouterr().err
    assert told.count("Traceback") == 1
    assert told.index("  job 2 (seed=1): by you") < told.index("  job 3 (seed=1): by us")


def test_single_runs_and_sweeps_without_failures_are_left_alone(tmp_path: Path):
    job = failed(BadInput("by you"))
    FailedJobs().on_job_end(sweep_config(tmp_path, RunMode.RUN), job)
    assert job.status == JobStatus.FAILED
    callback = FailedJobs()
    callback.on_multirun_start(sweep_config(tmp_path))
    callback.on_job_end(sweep_config(tmp_path), JobReturn(status=JobStatus.COMPLETED))
    callback.on_multirun_end(sweep_config(tmp_path))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks processes up in /proc")
@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_signal_ends_the_sweep_with_all_its_jobs(tmp_path: Path, launcher: str):
    options = []
    if launcher == "joblib":
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
        options = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    command = [sys.executable, "-m", "halonerf", "-m", "stage=collect", "scene=cathedral", "scene.photos=30,31"]
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen([*command, *options], cwd=tmp_path, stdout=log, stderr=log, start_new_session=True)
    try:
        while not list(tmp_path.glob("artifacts/*/collect/*.partial")):
            assert process.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.1)
        jobs = descendants(process.pid)
        process.terminate()
        assert process.wait(timeout=3.0 + 10.0) == 143
        deadline = time.monotonic() + 10.0
        while any(Path(f"/proc/{job}").exists() for job in jobs):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    told = (tmp_path / "log").read_text()
    assert told.rstrip().endswith(MESSAGE)
    assert "Traceback" not in told
    assert not list(tmp_path.glob("artifacts/*/collect/*/manifest.json"))
