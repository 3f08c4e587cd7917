"""Stopping a run: SIGINT (Ctrl-C) and SIGTERM end it within seconds, with its worker processes, whatever it is doing.

A signal raises `Stop` in the main thread, and the run unwinds: files that are being written are removed, pools are
closed, logs finished. Where that takes longer than `GRACE_S` (native code that does not return, threads that are waited
for, a library that swallows the exception), a watching thread ends the process and all below it by force. What is
finished is kept either way, for files take their names when they are complete. Python runs handlers of signals between
its own instructions alone, so the thread learns of a signal from the descriptor that the handler in C writes to.
"""

from __future__ import annotations

import atexit
import importlib.abc
import multiprocessing
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

MESSAGE = "halonerf: stopped. Resume with the same command."
SIGNALS = (signal.SIGINT, signal.SIGTERM)
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has none
GRACE_S = 3.0  # for unwinding; then the process is ended by force
REPEAT_S = 0.3  # a signal that comes again so soon is the same one, sent to the process and to its group (`timeout`)
POLL_S = 0.5  # between a worker's looks at its parent

TAKERS = ("pycolmap._core",)  # modules that put handlers of their own in C when they are imported (here: glog's)

unfinished: set[Path] = set()  # files that are being written in this process; removed when it is ended by force


class Stop(SystemExit):
    """The run was told to stop by a signal; its code is 128 + the signal's number: 130 for SIGINT, 143 for SIGTERM.

    A `SystemExit`: `except Exception` does not catch it, asyncio's loops pass it on at once, which they do for no other
    exceptions but `KeyboardInterrupt`, and that Lightning turns into exit code 1.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number

    def __reduce__(self) -> tuple[type[Stop], tuple[int]]:
        return type(self), (self.number,)


@contextmanager
def stopping(grace_s: float = GRACE_S) -> Iterator[None]:
    """A block that SIGINT and SIGTERM end within `grace_s` seconds, with a message on standard error.

    Once a signal has come, the process ends with the block, whatever that raises or returns. Inside another such
    block, and in other threads than the main one, it changes nothing.
    """
    global _watch
    if _watch is not None or threading.current_thread() is not threading.main_thread():
        yield
        return
    _watch = watch = Watch(grace_s)
    try:
        watch.open()
        yield
        watch.leaving = True
    except KeyboardInterrupt:  # raised by code, not by a signal
        watch.note(signal.SIGINT)
    except BaseException:
        watch.leaving = True
        if not watch.came():
            raise
    finally:
        watch.leaving = True
        if not watch.came():
            _watch = None
            watch.close()
    if watch.number is not None:
        watch.announce()
        end_workers(KILL)
        with suppress(BaseException):
            atexit._run_exitfuncs()  # loggers send what they have; the watch goes on meanwhile
        _end_process(128 + watch.number)


def leave(code: object = None) -> None:
    """End the process with what `SystemExit` was raised with, once threads and functions of `atexit` have ended.

    What the interpreter would do then, taking modules apart, is left out: after a fit or a rendering it took 14 to 29 s
    on a busy machine, in which no handler of a signal runs. Where a signal has come, it returns, for the block to end.
    """
    if _watch is not None:
        _watch.leaving = True
        if _watch.came():
            return  # to the end of the block, also where somebody has swallowed the exception
    if not (code is None or isinstance(code, int)):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    _end_process(code or 0)


def _end_process(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)


class Watch:
    """Handlers of both signals, and a thread that ends the process if they have not done so in time.

    number: the signal that came first, None while there was none. leaving: the run is done, and the process is ending.
    """

    def __init__(self, grace_s: float) -> None:
        self.grace_s = grace_s
        self.number: int | None = None
        self.leaving = False
        self._announced = self._raised = False
        self._reading = threading.Lock()
        self._reader, self._writer = socket.socketpair()  # Windows takes no pipes here
        self._writer.setblocking(False)
        self._before: dict[int, Any] = {}
        self._descriptor_before = -1

    def open(self) -> None:
        """Take the signals. Raises Stop where one comes at once."""
        threading.Thread(target=self._wait, name="stopping", daemon=True).start()
        self._descriptor_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        Rearming.install()
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._handle)

    def close(self) -> None:
        """Put back what handled the signals before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._descriptor_before)
        self._writer.close()  # ends the thread

    def note(self, number: int) -> None:
        """Take `number` for the signal that stops the run, unless one came before; the time to unwind begins."""
        if self.number is None:
            self.number = number
        with suppress(OSError):
            self._writer.send(bytes([_NOTED]))  # in case a library has put its own descriptor in place of ours

    def came(self) -> bool:
        """Whether a signal has come, also one that another handler took and the thread has not read of yet."""
        with self._reading:
            if self.number is None and select.select([self._reader], [], [], 0)[0]:
                received = self._reader.recv(64, socket.MSG_PEEK)
                self.number = next((number for number in received if number in SIGNALS), None)
        return self.number is not None

    def announce(self) -> None:
        """Say on standard error that the run was stopped, once."""
        if not self._announced:
            self._announced = True
            shown = "\x1b[?25h" if os.isatty(2) else ""  # a progress bar may have hidden the cursor
            with suppress(OSError):
                os.write(2, f"{shown}{MESSAGE}\n".encode())

    def forked(self) -> None:
        """In a child process: signals are its parent's affair."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.note(number)
        if self._raised:
            return
        self._raised = True
        if self.leaving:  # an exception would be swallowed there
            self._end()
        end_workers(signal.SIGTERM)  # what waits for them goes on
        raise Stop(self.number or number)

    def _wait(self) -> None:
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # the main thread's, which may hold them back
        first = 0.0
        while True:
            left = max(0.0, first + self.grace_s - time.monotonic()) if first else None
            if not select.select([self._reader], [], [], left)[0]:
                self._end()
            with self._reading:
                received = self._reader.recv(64)
                numbers = [number for number in received if number in (*SIGNALS, _NOTED)]
                if numbers and self.number is None:
                    self.number = numbers[0] if numbers[0] != _NOTED else signal.SIGTERM
            if not received:
                self._reader.close()
                return
            for number in numbers:
                now = time.monotonic()
                if not first:
                    first = now
                elif number == signal.SIGINT and now > first + REPEAT_S:
                    self._end()

    def _end(self) -> None:
        """End this process and all below it at once."""
        self.announce()
        end_workers(KILL)
        for number in descendants(os.getpid()):
            with suppress(OSError):
                os.kill(number, KILL)
        _remove_unfinished()
        os._exit(128 + (self.number or signal.SIGTERM))


class Rearming(importlib.abc.MetaPathFinder):
    """Restores Python's handlers of both signals after each import of one of `TAKERS`.

    Python believes that its handlers are still in place, and no option keeps the libraries from replacing them.
    """

    @classmethod
    def install(cls) -> None:
        """Put it in front of Python's own finders, once in a process."""
        if not any(isinstance(finder, cls) for finder in sys.meta_path):
            sys.meta_path.insert(0, cls())

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's own spec with a loader that restores the handlers."""
        if fullname not in TAKERS:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None:
                spec.loader = _RearmingLoader(spec.loader)
                return spec
        return None


class _RearmingLoader(importlib.abc.Loader):
    """Another loader, after whose work Python's handlers are restored."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        with _held_back():
            return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        with _held_back():
            self.loader.exec_module(module)

    def __getattr__(self, name: str) -> Any:  # what importlib.resources and inspect ask loaders for
        return getattr(self.loader, name)


@contextmanager
def _held_back() -> Iterator[None]:
    """Signals in the block come when it has ended, to Python's handlers."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.getsignal(number))
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_NOTED = 255  # on the descriptor: no number of a signal
_watch: Watch | None = None  # of this process: there is one set of handlers


def _forked() -> None:
    global _watch
    if _watch is not None:
        _watch.forked()
        _watch = None
    unfinished.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def follow_parent() -> None:
    """In a worker process: leave Ctrl-C to the parent, and end when the parent has ended, however it did."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all
        signal.signal(signal.SIGTERM, _end_worker)
        Rearming.install()
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), name="follow_parent", daemon=True).start()


def _end_with_parent(number: int) -> None:
    parent = multiprocessing.parent_process()
    if sys.platform == "win32":  # a process keeps the number of its parent there
        if parent is not None:
            parent.join()
            os._exit(1)
        return
    while os.getppid() == number and (parent is None or parent.pid in (None, number)):
        time.sleep(POLL_S)
    os._exit(1)


def _end_worker(number: int, frame: FrameType | None) -> None:
    _remove_unfinished()
    os._exit(128 + number)


def _remove_unfinished() -> None:
    for path in list(unfinished):
        with suppress(OSError):
            path.unlink()


def end_workers(number: int) -> None:
    """Send a signal to the processes that multiprocessing started, which a pool would wait for."""
    if hasattr(signal, "SIGCHLD") and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # PyTorch's handler raises an error for loaders that are killed
    for child in multiprocessing.active_children():
        with suppress(OSError, ValueError):
            if child.pid is not None:
                os.kill(child.pid, number)


def descendants(root: int) -> list[int]:
    """Numbers of the processes below `root`, where the system has /proc; without those that free shared memory."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*") if sys.platform == "linux" else ():
        with suppress(OSError, ValueError, IndexError):
            # the name, in parentheses, may hold anything
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    found, below = [], [root]
    while below:
        above = below.pop()
        children = [number for number, parent in parents.items() if parent == above]
        found += children
        below += children
    return [number for number in found if not _is_tracker(number)]


def _is_tracker(number: int) -> bool:
    try:
        return b"resource_tracker" in Path(f"/proc/{number}/cmdline").read_bytes()
    except OSError:
        return False
