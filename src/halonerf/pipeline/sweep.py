"""Jobs of a sweep (`halonerf -m`) that fail: each is told at once, the others go on, and the end names them all.

A launcher may run jobs in other processes or on other machines, so failures are kept as files in the sweep's folder.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from halonerf.errors import UserError, first_line
from halonerf.files import write_json
from halonerf.process.signals import follow_parent

FOLDER = "failed"  # in the sweep's folder: <job's number>.json


class FailedJobs(Callback):
    """Hydra's callback around sweeps and their jobs; single runs are left alone.

    A sweep with failed jobs ends with exit code 2, or 1 where one of them failed by an error of the program.
    """

    def __init__(self) -> None:
        self.folder: Path | None = None  # travels to the processes of jobs, whose options may name other folders

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Remember the sweep's folder."""
        self.folder = Path(str(config.hydra.sweep.dir)).absolute() / FOLDER

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """In a process that a launcher started (joblib): end with the sweep."""
        if self.folder is not None and multiprocessing.parent_process() is not None:
            follow_parent()

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Tell and note a job's error, which Hydra would otherwise raise once other jobs have ended."""
        if self.folder is None or config.hydra.mode != RunMode.MULTIRUN or job_return.status != JobStatus.FAILED:
            return
        error: Exception = job_return._return_value  # the property raises it
        number = int(config.hydra.job.num)
        name = job_name(number, job_return.overrides or ())
        known = isinstance(error, UserError)
        if not known:
            traceback.print_exception(error)
        print(f"halonerf: {name}: {error if known else repr(error)}", file=sys.stderr, flush=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        told = {"job": number, "name": name, "error": first_line(error), "known": known}
        write_json(self.folder / f"{number}.json", told)
        job_return.status, job_return.return_value = JobStatus.COMPLETED, None

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Name the jobs that failed, and end the process.

        Raises: SystemExit where there are any.
        """
        files = self.folder.glob("*.json") if self.folder else ()
        failed = sorted((json.loads(file.read_text()) for file in files), key=lambda told: told["job"])
        if failed:
            lines = [f"halonerf: {len(failed)} of the sweep's jobs failed; the others are done:"]
            lines += [f"  {told['name']}: {told['error']}" for told in failed]
            print("\n".join(lines), file=sys.stderr)
            sys.exit(2 if all(told["known"] for told in failed) else 1)


def job_name(number: int, overrides: Sequence[str]) -> str:
    """How messages name a job: its number and what was asked for."""
    return f"job {number} ({' '.join(overrides)})"
