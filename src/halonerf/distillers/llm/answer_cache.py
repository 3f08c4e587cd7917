"""A cache of model replies by prompt, model and sampling, in an SQLite file that a killed run leaves intact."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from halonerf.errors import BadInput

NAME = "answers.sqlite"
LOCK_TIMEOUT_S = 60.0  # for another process that writes into the same file
COMMIT_S = 1.0  # replies of this much time are lost at most when a run is killed
_QUERY_KEYS = 500  # per query; SQLite accepts 999 in its oldest builds


@dataclass(frozen=True, slots=True)
class Reply:
    """An engine's reply to one prompt.

    confidence: in [0, 1], from the engine's token probabilities; 1 where it returns none.
    failure: why the text is no complete answer ("timeout", "http_500", …), or "".
    """

    text: str
    tokens_in: int = 0
    tokens_out: int = 0
    confidence: float = 1.0
    failure: str = ""


class AnswerCache:
    """Replies by key; failed ones are not kept, so that another run retries them.

    Several processes may use one file: each holds its lock only while it writes. A network file system must support
    locks.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """folder: of the file, created where missing; None keeps the replies in memory for the object's lifetime.

        Raises: BadInput where the file exists and is no cache.
        """
        self.path = None if folder is None else folder / NAME
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        try:
            # used by one thread at a time, but not always the one that made it: Ray calls from its own
            self._base = sqlite3.connect(self.path or ":memory:", timeout=LOCK_TIMEOUT_S, check_same_thread=False)
            self._base.execute("PRAGMA synchronous = NORMAL")
            self._base.execute(
                "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, text TEXT NOT NULL, tokens_in INTEGER, "
                "tokens_out INTEGER, confidence REAL, failure TEXT) WITHOUT ROWID"
            )
            self._base.commit()
        except sqlite3.DatabaseError as error:
            raise BadInput(
                f"expected a cache of answers in {self.path}, but it cannot be opened: {error}.\n"
                "Delete the file (its answers will be computed again), or set another folder: distiller.cache=DIR"
            ) from error
        self._fresh: dict[str, Reply] = {}  # not yet written: a long transaction would lock other processes out
        self._written = time.monotonic()

    def get(self, keys: Iterable[str]) -> dict[str, Reply]:
        """Replies of those `keys` that are in the cache."""
        wanted = list(keys)
        found = {key: self._fresh[key] for key in wanted if key in self._fresh}
        for start in range(0, len(wanted), _QUERY_KEYS):
            chunk = wanted[start : start + _QUERY_KEYS]
            marks = ",".join("?" * len(chunk))
            rows = self._base.execute(f"SELECT * FROM answers WHERE key IN ({marks})", chunk)
            found.update({key: Reply(*rest) for key, *rest in rows})
        return found

    def put(self, key: str, reply: Reply) -> None:
        """Add a reply without failure; it is on disk within `COMMIT_S`, or with the next `commit`."""
        if reply.failure:
            return
        encodable = reply.text.encode(errors="replace").decode()  # a lone surrogate has no UTF-8
        self._fresh[key] = replace(reply, text=encodable)
        if time.monotonic() - self._written > COMMIT_S:
            self.commit()

    def commit(self) -> None:
        """Write all replies to disk in one short transaction."""
        rows = [
            (key, reply.text, reply.tokens_in, reply.tokens_out, reply.confidence, reply.failure)
            for key, reply in self._fresh.items()
        ]
        if rows:
            with self._base:
                self._base.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?)", rows)
        self._fresh.clear()
        self._written = time.monotonic()

    def close(self) -> None:
        """Commit, and close the file."""
        self.commit()
        self._base.close()


def key_of(prompt: Any, model: str, sampling: Mapping[str, Any]) -> str:
    """SHA-256 of prompt, model and sampling as canonical JSON, in hexadecimal."""
    canonical = json.dumps([prompt, model, dict(sampling)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
