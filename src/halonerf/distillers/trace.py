"""The trace of every decision: `responses.jsonl`, one line a record."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

NAME = "responses.jsonl"


class Trace:
    """Lines that are added batch by batch; a record that an earlier, killed run wrote is not written again."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
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

    def _mend(self) -> None:
        """Cut off a line that was not finished, and learn which records are there."""
        whole = 0
        with open(self.path, "rb") as stream:
            for line in stream:
                try:
                    self._known.add(_key(json.loads(line)))
                except (ValueError, KeyError, TypeError):
                    break
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
        os.truncate(self.path, whole)


def _key(line: Mapping[str, Any]) -> int:
    return hash((line["image_id"], line["prompt"]))
