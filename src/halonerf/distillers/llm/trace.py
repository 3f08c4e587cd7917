"""The trace of every decision: `responses.jsonl`, one line a record."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

NAME = "responses.jsonl"
CHUNK = 1_000  # lines that are moved at a time


class Trace:
    """Lines that are added batch by batch; a record that an earlier, killed run wrote is not written again.

    Only one process may write a file. Where several work in one folder, each is a `worker` with a file of its own,
    until `gather` puts them together.
    """

    def __init__(self, folder: Path, worker: str = "") -> None:
        self.path = folder / (NAME.replace(".", f"-{worker}.") if worker else NAME)
        self._known: set[int] = set()  # of records from before; hashes, since there may be millions
        if self.path.exists():
            self._mend()

    def add(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Write one line each, in one go; every line has its record's "image_id" and the hash of its "prompt"."""
        fresh = [line for line in lines if _key(line) not in self._known]
        text = "".join(json.dumps(dict(line), ensure_ascii=True) + "\n" for line in fresh)
        with open(self.path, "a", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())

    def gather(self) -> None:
        """Move the lines of all workers here; a record that two of them wrote, as one was killed, only once."""
        for path in sorted(self.path.parent.glob(NAME.replace(".", "-*."))):
            lines = _whole_lines(path)
            while some := list(islice(lines, CHUNK)):
                kept = {_key(line): line for line in some}
                self.add(kept.values())
                self._known |= kept.keys()
            path.unlink()

    def _mend(self) -> None:
        """Cut off a line that was not finished, and learn which records are there."""
        whole = 0
        with open(self.path, "rb") as stream:
            for line in stream:
                if (known := _read(line)) is None:
                    break
                self._known.add(_key(known))
                whole += len(line)
        os.truncate(self.path, whole)


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file up to the first that was not finished."""
    with open(path, "rb") as stream:
        for line in stream:
            if (whole := _read(line)) is None:
                return
            yield whole


def _read(line: bytes) -> dict[str, Any] | None:
    """A line of a trace; None for one that is cut off, or none at all."""
    try:
        data = json.loads(line)
        _key(data)
    except (ValueError, KeyError, TypeError):
        return None
    return data if line.endswith(b"\n") else None


def _key(line: Mapping[str, Any]) -> int:
    return hash((line["image_id"], line["prompt"]))
