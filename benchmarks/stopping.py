"""Twenty SIGTERM and ten SIGINT at random moments over all stages of the demo's pipeline: what each run leaves behind.

A small landmark goes through the pipeline once without interruption. In another folder every stage is started,
signalled at a random moment (seeded; one in five while the program is still being loaded) and started again, three
times over; then the run is let go to its end. Each stop: seconds until the process has ended, its exit code, the
message, files that are half-written, processes that are left. At the end: which files differ from those of the
uninterrupted run.

    python benchmarks/stopping.py [--seed 0] [--stages collect,reconstruct] [--out benchmarks/out/stopping.json]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas

SMALL = (
    "scene=cathedral", "segmenter=timm_text", "scene.photos=16", "scene.samples=4", "scene.close_ups=0.1",
    "segment.concepts=[portal,window]", "ingest.features=2000", "ingest.size=160",
    "reconstruct.steps=120", "reconstruct.epoch_steps=10", "field.budget=6000",
)  # fmt: skip
SIGNALS = (signal.SIGTERM, signal.SIGTERM, signal.SIGINT)  # of each stage
MESSAGE = "halonerf: stopped. Resume with the same command."
TEMPORARY = re.compile(r"\..*\.[0-9a-f]{12}(\.[^.]*)?")
UNLIKE = re.compile(r"manifest\.json|logs/|checkpoints/|.*\.html")  # dates, and pages that show seconds
SECONDS = re.compile(r"seconds|wall_s|.*_seconds")  # keys of JSON files that hold times


@dataclass
class Stop:
    """One signalled run."""

    stage: str
    signal: str
    moment: str
    seconds: float
    code: int
    told: bool
    half_written: list[str]
    left: list[int]
    finished_kept: bool
    last_words: str  # of the log

    def row(self) -> str:
        """One line of the table."""
        told = f"message {self.told}  half-written {len(self.half_written)}  left {len(self.left)}"
        return f"{self.stage:<12} {self.signal:<8} {self.moment:<18} {self.seconds:6.2f} s  exit {self.code}  {told}"


def start(folder: Path, stage: str) -> subprocess.Popen[str]:
    """Run a stage in a session of its own, sums in one order."""
    environment = {**os.environ, "NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "halonerf", f"stage={stage}", *SMALL]
    log = open(folder / "log.txt", "w+")  # noqa: SIM115
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True, text=True
    )


def finish(folder: Path, stage: str) -> None:
    process = start(folder, stage)
    if process.wait(timeout=1800) != 0:
        raise SystemExit(f"{stage} failed:\n{(folder / 'log.txt').read_text()}")


def in_session(session: int) -> list[int]:
    """Numbers of the processes of a session that still run."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(place.name))
    return found


def finished(folder: Path) -> set[str]:
    """Files of all finished artifacts."""
    manifests = (folder / "artifacts").glob("*/*/*/manifest.json")
    return {str(p) for m in manifests if not m.parent.name.endswith(".partial") for p in m.parent.rglob("*")}


def signalled(
    folder: Path, stage: str, number: signal.Signals, wall_s: float, loading_s: float, rng: random.Random
) -> Stop | None:
    """Start a stage and signal it at a random moment; None where it had ended by then."""
    early = rng.random() < 0.2
    delay = rng.random() * (loading_s if early else wall_s)
    before = finished(folder)
    process = start(folder, stage)
    line = re.compile(rf"^\d\d:\d\d:\d\d \S+ {stage} [0-9a-f]{{16}}$", re.MULTILINE)
    deadline = time.monotonic() + 900  # it may have to finish the stage before
    while not early and process.poll() is None and not line.search((folder / "log.txt").read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    try:
        process.wait(timeout=max(delay, 0.05))
    except subprocess.TimeoutExpired:
        pass
    else:
        return None
    sent = time.monotonic()
    process.send_signal(number)
    code = process.wait(timeout=300)
    seconds = time.monotonic() - sent
    if code == 0:  # the process was already being taken down
        return None
    time.sleep(1.5)  # workers look for their parent every half second
    half = [str(p.relative_to(folder)) for p in (folder / "artifacts").rglob(".*") if TEMPORARY.fullmatch(p.name)]
    log = (folder / "log.txt").read_text().rstrip()
    told = log.endswith(MESSAGE)
    moment = f"{'loading' if early else 'working'} +{delay:.1f} s"
    kept = before <= finished(folder)
    return Stop(
        stage, number.name, moment, round(seconds, 2), code, told, half, in_session(process.pid), kept, log[-2000:]
    )


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of what every file of every finished artifact holds but times."""
    found = {}
    for manifest in sorted((folder / "artifacts").glob("*/*/*/manifest.json")):
        for path in sorted(p for p in manifest.parent.rglob("*") if p.is_file()):
            name = str(path.relative_to(folder / "artifacts"))
            if not UNLIKE.match(str(path.relative_to(manifest.parent))):
                found[name] = hashlib.sha256(contents(path)).hexdigest()
    return found


def contents(path: Path) -> bytes:
    """The bytes of a file; of JSON without the times, of Parquet the table without its metadata."""
    if path.suffix == ".json":
        return json.dumps(without_times(json.loads(path.read_text()))).encode()
    if path.suffix == ".parquet":
        return pandas.read_parquet(path).to_csv().encode()
    return path.read_bytes()


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(entry) for key, entry in value.items() if not SECONDS.fullmatch(key)}
    return [without_times(entry) for entry in value] if isinstance(value, list) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--stages", default="", help="only these, separated by commas; of others the finished output is taken"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/stopping.json"))
    parser.add_argument("--reference", type=Path, help="folder of an uninterrupted run, kept for the next time")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as place:
        reference = options.reference or Path(place) / "whole"
        reference.mkdir(parents=True, exist_ok=True)
        if not list(reference.glob("artifacts/*/report/*/manifest.json")):
            finish(reference, "report")
        manifests = [json.loads(p.read_text()) for p in reference.glob("artifacts/*/*/*/manifest.json")]
        walls = {m["stage"]: m["wall_s"] for m in sorted(manifests, key=lambda m: m["started"])}
        began = time.monotonic()
        finish(reference, "report")  # cached: all of it is loading
        loading_s = time.monotonic() - began
        wanted = options.stages.split(",") if options.stages else list(walls)
        stopped = Path(place) / "stopped"
        for stage in walls.keys() - set(wanted):
            for folder in reference.glob(f"artifacts/*/{stage}"):
                shutil.copytree(folder, stopped / folder.relative_to(reference))
        stopped.mkdir(exist_ok=True)
        stops: list[Stop] = []
        for stage in (stage for stage in walls if stage in wanted):
            wall_s = walls[stage]
            for number in SIGNALS:
                while (stop := signalled(stopped, stage, number, wall_s, loading_s, rng)) is None:
                    for folder in stopped.glob(
                        f"artifacts/*/{stage}"
                    ):  # too late: begin that stage again, signal sooner
                        shutil.rmtree(folder)
                    wall_s *= 0.7
                stops.append(stop)
                print(stop.row(), flush=True)
        finish(stopped, stops[-1].stage)
        whole, resumed = digests(reference), digests(stopped)
        stages = {name.split("/")[1] for name in resumed}
        whole = {name: digest for name, digest in whole.items() if name.split("/")[1] in stages}
        different = sorted(name for name in whole.keys() | resumed.keys() if whole.get(name) != resumed.get(name))
    wrong = [stop for stop in stops if stop.code != 128 + signal.Signals[stop.signal] or not stop.told]
    wrong += [stop for stop in stops if stop.half_written or stop.left or not stop.finished_kept]
    print(f"{len(stops)} stops, slowest {max(stop.seconds for stop in stops):.2f} s, {len(wrong)} wrong; "
          f"{len(different)} of {len(whole)} files differ from the uninterrupted run's")  # fmt: skip
    print("\n".join(different[:20]))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"stops": [asdict(s) for s in stops], "different": different}, indent=2))
    sys.exit(bool(wrong or different))


if __name__ == "__main__":
    main()
