"""Signals end a run within seconds, whatever it is doing, and its worker processes with it."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from halonerf.artifacts import ArtifactStore
from halonerf.files import atomic_path
from halonerf.process.signals import MESSAGE, Stop, descendants, stopping, unfinished

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
SLACK_S = 10.0  # on top of the grace, for a busy machine; what is under test runs for a minute

START = "import sys, time\nfrom halonerf.process.signals import stopping, follow_parent\n"
SLEEPS = "print('ready', flush=True); time.sleep(60)"
NATIVE = "import hashlib; print('ready', flush=True); hashlib.pbkdf2_hmac('sha256', b'a', b'b', 10**9)"
SWALLOWS = """
print('ready', flush=True)
for _ in range(60):
    try: time.sleep(1)
    except BaseException: pass
"""
JOINS = """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(2) as pool:
    pool.submit(time.sleep, 60); print('ready', flush=True); time.sleep(60)
"""
COLMAP = "import pycolmap; print('ready', flush=True); time.sleep(60)"
OTHER_ERROR = """
print('ready', flush=True)
try: time.sleep(60)
except BaseException: raise ValueError('what the stop caused')
"""
INTERRUPT = """
import signal; signal.signal(signal.SIGINT, signal.default_int_handler)
print('ready', flush=True); time.sleep(60)
"""
# as the viewer waits: with handlers of its own, after which it closes its windows and returns
WAITS = """
import signal, threading
stopped = threading.Event()
for number in (signal.SIGINT, signal.SIGTERM): signal.signal(number, lambda *_: stopped.set())
print('ready', flush=True); stopped.wait()
"""


def program(body: str, grace_s: float = 1.0) -> str:
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    return f"{START}with stopping({grace_s}):\n{lines}\n"


# a signal that comes while glog has its handler in place of Python's
TAKEN = """
import os, signal, sys
from halonerf.process import signals
with signals._held_back():
    import pycolmap
    print('ready', flush=True)
    time.sleep(1.5)
time.sleep(60)
"""
SWALLOWED = """
from halonerf.process.signals import leave
print('ready', flush=True)
try: time.sleep(60)
except BaseException: leave()
"""


@contextmanager
def running(*command: str, folder: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    """A process that has printed "ready", with its output in pipes; killed at the end with all of its session."""
    process = subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=folder,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.3)  # to be in what comes after
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def ends(process: subprocess.Popen[str], within_s: float) -> tuple[int, str]:
    """Exit code and standard error."""
    _, error = process.communicate(timeout=within_s)
    return process.returncode, error


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    "body", [SLEEPS, NATIVE, SWALLOWS, JOINS, COLMAP, OTHER_ERROR, INTERRUPT, WAITS, TAKEN, SWALLOWED]
)
def test_a_signal_ends_whatever_runs(body: str, number: signal.Signals):
    with running("-c", program(body)) as process:
        process.send_signal(number)
        code, error = ends(process, 1.0 + SLACK_S)
    assert code == 128 + number
    assert error == f"{MESSAGE}\n", "once, and no traceback"


def test_a_second_ctrl_c_does_not_wait():
    with running("-c", program(SWALLOWS, grace_s=50.0)) as process:
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.0)
        process.send_signal(signal.SIGINT)
        code, error = ends(process, SLACK_S)
    assert (code, error) == (130, f"{MESSAGE}\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_comes_twice_at_once_counts_once(number: signal.Signals):
    body = "print('ready', flush=True)\ntry: time.sleep(60)\nfinally: time.sleep(0.5); print('tidy', flush=True)"
    with running("-c", program(body, grace_s=30.0)) as process:
        process.send_signal(number)
        process.send_signal(number)
        output, error = process.communicate(timeout=SLACK_S)
    assert output == "tidy\n"
    assert (process.returncode, error) == (128 + number, f"{MESSAGE}\n")


def test_without_a_signal_nothing_changes():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with stopping():
        assert signal.getsignal(signal.SIGTERM) not in before
        with stopping():
            pass
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    with pytest.raises(ValueError, match="own"), stopping():
        raise ValueError("own")
    assert signal.set_wakeup_fd(-1) == -1


def test_stops_travel_between_processes():
    stop = pickle.loads(pickle.dumps(Stop(signal.SIGTERM)))
    assert (stop.code, stop.number) == (143, signal.SIGTERM)


WORKERS = """
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
import time
from halonerf.process.signals import follow_parent, stopping

def work(seconds):
    time.sleep(seconds)

def main():
    with stopping(1.0), ProcessPoolExecutor(2, get_context("spawn"), follow_parent) as pool:
        list(pool.map(work, [0.0] * 8))
        waiting = [pool.submit(work, 60.0) for _ in range(8)]
        print("ready", flush=True)
        waiting[0].result()

if __name__ == "__main__":
    main()
"""
LOADERS = """
import time
from torch.utils.data import DataLoader
from halonerf.process.signals import stopping

class Slow(list):
    def __getitem__(self, index):
        time.sleep(0.05)
        return index

with stopping(1.0):
    for index in DataLoader(Slow([0] * 10_000), num_workers=2, batch_size=None, multiprocessing_context="fork"):
        if index == 3:
            print("ready", flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks processes up in /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("source", [WORKERS, LOADERS])
def test_workers_end_with_their_parent(tmp_path: Path, source: str, number: signal.Signals):
    (tmp_path / "program.py").write_text(source)
    with running("program.py", folder=tmp_path) as process:
        workers = descendants(process.pid)
        assert len(workers) >= 2
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does
        else:
            process.send_signal(number)
        process.wait(1.0 + SLACK_S)
        deadline = time.monotonic() + SLACK_S
        while any(alive(worker) for worker in workers):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        error = process.stderr.read() if process.stderr else ""
    if number != signal.SIGKILL:
        assert process.returncode == 128 + number
        assert error == f"{MESSAGE}\n", "workers say nothing"


def alive(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_files_that_are_being_written_are_removed_by_force(tmp_path: Path):
    body = f"""
from pathlib import Path
from halonerf.files import atomic_path
with atomic_path(Path({str(tmp_path / "whole.bin")!r})) as temporary:
    temporary.write_bytes(b'half')
    print('ready', flush=True)
    import hashlib; hashlib.pbkdf2_hmac('sha256', b'a', b'b', 10**9)
"""
    with running("-c", program(body)) as process:
        assert len(list(tmp_path.iterdir())) == 1
        process.send_signal(signal.SIGTERM)
        assert ends(process, 1.0 + SLACK_S)[0] == 143
    assert list(tmp_path.iterdir()) == []
    with atomic_path(tmp_path / "whole.bin") as temporary:
        temporary.write_bytes(b"whole")
        assert unfinished == {temporary}
    assert not unfinished


def test_what_a_killed_run_was_writing_is_removed_by_the_next_one(tmp_path: Path):
    store = ArtifactStore(tmp_path)
    with pytest.raises(RuntimeError), store.create("s", "stage", "k") as folder:
        assert folder is not None
        (folder / "maps").mkdir()
        for name in ("maps/.0001.0123456789ab.npz", "maps/0001.npz", ".hidden", "maps/.a.b.0123456789ab"):
            (folder / name).write_text("")
        raise RuntimeError
    with pytest.raises(RuntimeError), store.create("s", "stage", "k") as folder:
        assert folder is not None
        assert {p.name for p in folder.rglob("*") if p.is_file()} == {"0001.npz", ".hidden"}
        raise RuntimeError


@pytest.mark.skipif(sys.platform != "linux", reason="reads in /proc whether the handlers are there")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_line_stops_while_it_is_being_loaded(tmp_path: Path, number: signal.Signals):
    command = [sys.executable, "-m", "halonerf", "stage=report", "plan=true"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    while not int(Path(f"/proc/{process.pid}/status").read_text().split("SigCgt:")[1].split()[0], 16) >> 14 & 1:
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(number)
    output, error = process.communicate(timeout=3.0 + SLACK_S)
    assert (process.returncode, output, error) == (128 + number, "", f"{MESSAGE}\n")


SLOW_END = """
import atexit, sys, threading
class Slow:
    def __del__(self): time.sleep(60)
kept = sys.modules["kept"] = Slow()
from halonerf.process.signals import leave
thread = threading.Thread(target=lambda: (time.sleep(1.0), print('thread', flush=True)))
thread.start()
atexit.register(lambda: print('atexit', flush=True))
print('ready', flush=True)
leave(CODE)
"""


@pytest.mark.parametrize(("given", "code"), [("None", 0), ("2", 2), ("'why'", 1)])
def test_a_run_that_is_done_ends_without_delay(given: str, code: int):
    with running("-c", program(SLOW_END.replace("CODE", given))) as process:
        output, error = process.communicate(timeout=1.0 + SLACK_S)
    assert (process.returncode, output) == (code, "thread\natexit\n")
    assert error == ("why\n" if code == 1 else "")


def test_a_signal_counts_to_the_last_moment():
    body = SLOW_END.replace("print('atexit', flush=True)", "time.sleep(60)").replace("CODE", "None")
    with running("-c", program(body)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "thread\n"
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        assert ends(process, 1.0 + SLACK_S) == (143, f"{MESSAGE}\n")
