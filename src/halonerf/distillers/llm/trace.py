"""The trace of all decisions of a language-model distiller: `responses.jsonl`, one line per record."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

NAME = "responses.jsonl"
CHUNK_LINES = 1_000  # that are moved at a time


class Trace:
    """A JSON-lines file that batches are appended to; records that an earlier, killed run wrote are not repeated.

    Only one process may write a file. Where several use one folder, each is a `worker` with a separate file, until
    `gather` merges them.
    """

    def __init__(self, folder: Path, worker: str = "") -> None:
        self.path = folder / (NAME.replace(".", f"-{worker}.") if worker else NAME)
        self._known: set[int] = set()  # hashes of the records in the file, of which there may be millions
        if self.path.exists():
            self._recover()

    def add(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Append lines in one write; every line has its record's "image_id" and the hash of its "prompt"."""
        fresh = [line for line in lines if _key(line) not in self._known]
        text = "".join(json.dumps(dict(line), ensure_ascii=True) + "\n" for line in fresh)
        with open(self.path, "a", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())

    def gather(self) -> None:
        """Move the lines of all workers here; a record that two of them wrote, as one was killed, appears once."""
        for path in sorted(self.path.parent.glob(NAME.replace(".", "-*."))):
            lines = _complete_lines(path)
            while chunk := list(islice(lines, CHUNK_LINES)):
                kept = {_key(line): line for line in chunk}
                self.add(kept.values())
                self._known |= kept.keys()
            path.unlink()

    def _recover(self) -> None:
        """Truncate an incomplete last line, and read which records are in the file."""
        complete = 0
        with open(self.path, "rb") as stream:
            for line in stream:
                if (entry := _read(line)) is None:
                    break
                self._known.add(_key(entry))
                complete += len(line)
        os.truncate(self.path, complete)


def _complete_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file up to the first incomplete one."""
    with open(path, "rb") as stream:
        for line in stream:
            if (entry := _read(line)) is None:
                return
            yield entry


def _read(line: bytes) -> dict[str, Any] | None:
    """A line of a trace; None for one that is incomplete or invalid."""
    try:
        data = json.loads(line)
        _key(data)
    except (ValueError, KeyError, TypeError):
        return None
    return data if line.endswith(b"\n") else None


def _key(line: Mapping[str, Any]) -> int:
    return hash((line["image_id"], line["prompt"]))
