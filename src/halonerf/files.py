"""Files written atomically, so that readers see the old file or the new one; digests; CSV cells made safe."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from halonerf.errors import StorageError


def files_digest(root: Path, files: list[Path]) -> str:
    """Digest of the names (relative to `root`) and contents of `files`, whatever their order."""
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.relative_to(root).as_posix().encode(errors="surrogateescape") + b"\0")
        with open(path, "rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, with its ending, that replaces it on a clean exit and is removed on an error."""
    temporary = path.with_name(f".{path.stem[:100]}.{uuid.uuid4().hex[:12]}{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """An empty temporary folder beside `path` that replaces it on a clean exit.

    A process that is killed leaves the old folder or none, and hidden ones beside it that the next call removes.
    """
    fresh, old = (path.with_name(f".{path.name}.{state}") for state in ("partial", "old"))
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    fresh.mkdir(parents=True)
    yield fresh
    if path.exists():
        path.rename(old)
    fresh.rename(path)
    shutil.rmtree(old, ignore_errors=True)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write `path` so that readers see the old file or the new one, never a part of it."""
    with atomic_path(path) as temporary, open(temporary, "xb") as stream:
        stream.write(data.encode() if isinstance(data, str) else data)


def write_json(path: Path, value: Any) -> None:
    """Atomically write `value` as indented JSON; refuses NaN, which JSON has not."""
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def storage_errors(root: Path) -> Iterator[None]:
    """Turn the operating system's storage errors below `root` into advice."""
    advice = {
        errno.ENOSPC: "the disk is full: free some space",
        errno.EDQUOT: "the disk quota is used up: free some space",
        errno.EROFS: "the file system is read-only",
        errno.EACCES: "permission denied",
        errno.EPERM: "permission denied",
        errno.ENOTDIR: "a file stands where a folder is needed",
    }
    try:
        yield
    except OSError as error:
        if error.errno not in advice:
            raise
        where = error.filename or root
        raise StorageError(
            f"expected to write artifacts under {root}, but {advice[error.errno]} ({where}).\n"
            f"What was finished is kept. Go on with the same command, or write elsewhere with: artifacts=DIR"
        ) from error


def safe_name(name: str) -> str:
    """`name` as one folder name: letters, digits, dots, dashes and underscores."""
    cleaned = re.sub(r"[^\w.-]+", "_", name, flags=re.UNICODE).strip("._")
    return cleaned[:60] or "scene"


def write_csv(path: Path, fields: Sequence[str], rows: Sequence[Mapping[str, object]]) -> None:
    """Atomically write rows as CSV; broken Unicode is replaced."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(fields))
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, text.getvalue().encode("utf-8", errors="replace"))


_FORMULA = re.compile(r"'*[=+\-@\t\r＝＋－＠]")


def escape_cell(cell: str) -> str:
    """Escape a CSV cell that a spreadsheet would run as a formula, with an apostrophe (OWASP, "CSV Injection").

    Formulas begin with `=`, `+`, `-`, `@`, a tab or a carriage return. A cell that has apostrophes before such a sign
    gets one more, so that `unescape_cell` gives back every cell as it was.
    """
    return f"'{cell}" if _FORMULA.match(cell) else cell


def unescape_cell(cell: str) -> str:
    """Undo `escape_cell`."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def write_at(path: Path, offset: int, data: bytes) -> None:
    """Write into a flat file that may not exist yet. An ordinary write: a full disk is an error, not a signal."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    with os.fdopen(handle, "r+b") as stream:
        stream.seek(offset)
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def write_npz(path: Path, compress: bool = False, **arrays: Any) -> None:
    """Atomically write arrays by name, compressed on request; nothing is pickled."""
    buffer = io.BytesIO()
    (np.savez_compressed if compress else np.savez)(buffer, **arrays)
    write_atomic(path, buffer.getvalue())
