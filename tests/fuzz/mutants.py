"""Damaged copies of a file, and a run of a reader over them that is bounded in time and memory."""

from __future__ import annotations

import random
import re
import resource
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from halonerf.errors import UserError

COUNT = 2000  # damaged files per reader
SECONDS = 10.0  # for one of them; they take milliseconds, and a busy machine some hundred times that
MEMORY = 3 << 30  # bytes of address space beyond what the process has; a photo of 180 million pixels takes 0.5 GB

_NUMBERS = (0, 1, -1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1)
_TEXTS = (
    b"", b" ", b"0", b"-1", b"1e999", b"nan", b"inf", b"9" * 40, b'"', b"'", b",", b"\t", b"\n", b"\r", b"\r\n", b"\0",
    b"\xff\xfe", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xc2\x85", b"\xe2\x80\xae", b"\xed\xa0\x80", b"\xf4\x90\x80\x80",
    b"=1+1", b"../..", b"/", b"{}", b"[]", b"null", b"\\", b"a" * 140_000,
)  # fmt: skip
_CELL = re.compile(rb"[^\s,;|\"\t]+")


def mutants(data: bytes, seed: int, count: int) -> Iterator[bytes]:
    """`count` damaged copies of `data`, a function of `data` and `seed`.

    One to three edits each: bits flipped, bytes replaced, the end cut off, blocks removed, repeated, moved, swapped or
    zeroed, numbers of 1 to 8 bytes set to limits in either byte order, cells of text replaced or joined by what
    tables stumble over.
    """
    chance = random.Random(seed)
    edits = (_flip_bit, _set_byte, _truncate, _remove, _repeat, _move, _swap, _zero, _number, _number, _cell, _insert)
    for _ in range(count):
        damaged = data
        for _ in range(chance.choice((1, 1, 2, 3))):
            damaged = chance.choice(edits)(damaged, chance)
        yield damaged


def check_reader(
    read: Callable[[Path], object],
    samples: list[bytes],
    path: Path,
    seed: int = 0,
    count: int = COUNT,
    errors: tuple[type[Exception], ...] = (UserError,),
) -> Counter[str]:
    """Run `read` on `count` damaged copies of `samples`, each written to `path`: how many were read or refused.

    Raises: AssertionError with the first traceback of each kind where anything but `errors` comes out, a file takes
        more than `SECONDS`, or more than `MEMORY` is asked for.
    """
    outcomes: Counter[str] = Counter()
    faults: dict[str, str] = {}
    share = -(-count // len(samples))
    files = ((i, number, m) for i, s in enumerate(samples) for number, m in enumerate(mutants(s, seed + i, share)))
    with _limited():
        for sample, number, damaged in files:
            path.write_bytes(damaged)
            started = time.perf_counter()
            try:
                signal.setitimer(signal.ITIMER_REAL, SECONDS)
                read(path)
                outcomes["read"] += 1
            except errors as error:
                kind = type(error).__name__
                if not str(error).strip():
                    faults.setdefault(kind, f"mutant {number} of sample {sample}: {kind} without a message")
                outcomes[kind] += 1
            except Exception as error:
                kind = f"{type(error).__name__}: {traceback.extract_tb(error.__traceback__)[-1].name}"
                outcomes[kind] += 1
                faults.setdefault(kind, f"mutant {number} of sample {sample}:\n{traceback.format_exc(limit=-6)}")
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            if time.perf_counter() - started > SECONDS:  # a reader may have taken the timer's error for damage
                faults.setdefault("slow", f"mutant {number} of sample {sample}: more than {SECONDS:g} s")
    assert not faults, f"{dict(outcomes)}\n" + "\n".join(faults.values())
    return outcomes


@contextmanager
def _limited() -> Iterator[None]:
    """A timer that raises TimeoutError, and `MEMORY` of address space beyond what the process has."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"more than {SECONDS:g} s for one file")

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    previous = signal.signal(signal.SIGALRM, stop)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGALRM, previous)


def _span(data: bytes, chance: random.Random) -> tuple[int, int]:
    """Start and end of a block, mostly short, and near the start, where headers lie, every other time."""
    size = len(data)
    start = chance.randrange(min(size, 256) + 1) if chance.random() < 0.5 else chance.randrange(size + 1)
    return start, min(size, start + 1 + int(size ** chance.random()))


def _flip_bit(data: bytes, chance: random.Random) -> bytes:
    start, _ = _span(data, chance)
    return data[:start] + bytes(b ^ 1 << chance.randrange(8) for b in data[start : start + 1]) + data[start + 1 :]


def _set_byte(data: bytes, chance: random.Random) -> bytes:
    start, _ = _span(data, chance)
    return data[:start] + bytes([chance.choice((0, 9, 10, 13, 34, 44, 127, 128, 255))]) + data[start + 1 :]


def _truncate(data: bytes, chance: random.Random) -> bytes:
    return data[: _span(data, chance)[0]]


def _remove(data: bytes, chance: random.Random) -> bytes:
    start, end = _span(data, chance)
    return data[:start] + data[end:]


def _repeat(data: bytes, chance: random.Random) -> bytes:
    start, end = _span(data, chance)
    return data[:end] + data[start:end] * chance.choice((1, 1, 2, 9)) + data[end:]


def _move(data: bytes, chance: random.Random) -> bytes:
    start, end = _span(data, chance)
    rest = data[:start] + data[end:]
    place = _span(rest, chance)[0]
    return rest[:place] + data[start:end] + rest[place:]


def _swap(data: bytes, chance: random.Random) -> bytes:
    spans = sorted([_span(data, chance), _span(data, chance)])
    (a, b), (c, d) = spans[0], (max(spans[0][1], spans[1][0]), max(spans[0][1], spans[1][1]))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def _zero(data: bytes, chance: random.Random) -> bytes:
    start, end = _span(data, chance)
    return data[:start] + bytes(end - start) + data[end:]


def _number(data: bytes, chance: random.Random) -> bytes:
    size, order = chance.choice((1, 2, 4, 8)), chance.choice(("little", "big"))
    start = _span(data, chance)[0] // size * size
    value = (chance.choice(_NUMBERS) % (1 << 8 * size)).to_bytes(size, order)  # type: ignore[arg-type]
    return data[:start] + value + data[start + size :]


def _cell(data: bytes, chance: random.Random) -> bytes:
    cell = _CELL.search(data, _span(data, chance)[0])
    if cell is None:
        return _insert(data, chance)
    return data[: cell.start()] + chance.choice(_TEXTS) + data[cell.end() :]


def _insert(data: bytes, chance: random.Random) -> bytes:
    start = _span(data, chance)[0]
    return data[:start] + chance.choice(_TEXTS) + data[start:]
