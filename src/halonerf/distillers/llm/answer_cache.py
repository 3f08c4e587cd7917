"""Answers that were paid for once: kept by prompt, model and sampling, in one file that a killed run leaves whole."""

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
WAIT_S = 60.0  # for another process that writes into the same file
COMMIT_S = 1.0  # answers of so much time are lost at most when a run is killed
_CHUNK = 500  # keys a query; SQLite takes 999 in its oldest builds


@dataclass(frozen=True, slots=True)
class Reply:
    """What an engine gave for one prompt.

    confidence: in [0, 1], what the engine's own probabilities say of the text; 1 where it tells none.
    failure: why the text is not a whole answer ("timeout", "http_500", …), or "".
    """

    text: str
    tokens_in: int = 0
    tokens_out: int = 0
    confidence: float = 1.0
    failure: str = ""


class AnswerCache:
    """Replies by key. Failed ones are not kept: another run asks again.

    Several processes may use one file: each holds its lock no longer than a write takes. Over a network, the file
    system must honour locks.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """folder: where its file is, or will be; None keeps the answers in memory, for as long as this object lives.

        Raises: BadInput where the file is there and is no cache.
        """
        self.path = None if folder is None else folder / NAME
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        try:
            # used by one thread at a time, which need not be the one that made it: Ray calls from its own
            self._base = sqlite3.connect(self.path or ":memory:", timeout=WAIT_S, check_same_thread=False)
            self._base.execute("PRAGMA synchronous = NORMAL")
            self._base.execute(
                "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, text TEXT NOT NULL, tokens_in INTEGER, "
                "tokens_out INTEGER, confidence REAL, failure TEXT) WITHOUT ROWID"
            )
            self._base.commit()
        except sqlite3.DatabaseError as error:
            raise BadInput(
                f"expected a cache of answers in {self.path}, but it cannot be opened: {error}.\n"
                "Delete the file (its answers will be asked for again), or name another folder: distiller.cache=DIR"
            ) from error
        self._fresh: dict[str, Reply] = {}  # not yet written: a transaction that waited for them would keep others out
        self._written = time.monotonic()

    def get(self, keys: Iterable[str]) -> dict[str, Reply]:
        """Those of `keys` that are known."""
        wanted = list(keys)
        found = {key: self._fresh[key] for key in wanted if key in self._fresh}
        for start in range(0, len(wanted), _CHUNK):
            some = wanted[start : start + _CHUNK]
            marks = ",".join("?" * len(some))
            rows = self._base.execute(
                f"SELECT * FROM answers WHERE key IN ({marks})",
                some,
            )
            found.update({key: Reply(*rest) for key, *rest in rows})
        return found

    def put(self, key: str, reply: Reply) -> None:
        """Keep a reply without failure; on disk within `COMMIT_S`, or with the next `commit`."""
        if reply.failure:
            return
        whole = reply.text.encode(errors="replace").decode()  # half a surrogate pair has no UTF-8
        self._fresh[key] = replace(reply, text=whole)
        if time.monotonic() - self._written > COMMIT_S:
            self.commit()

    def commit(self) -> None:
        """Bring all replies to disk, in one short transaction."""
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
        """Commit, and let the file go."""
        self.commit()
        self._base.close()


def key_of(prompt: Any, model: str, sampling: Mapping[str, Any]) -> str:
    """SHA-256 of prompt, model and sampling as canonical JSON, in hexadecimal."""
    canonical = json.dumps([prompt, model, dict(sampling)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
