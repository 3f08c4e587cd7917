"""Files written atomically, so that readers see the old file or the new one; digests; CSV tables with escaped cells."""

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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from halonerf.errors import StorageError
from halonerf.process.signals import unfinished


def files_digest(root: Path, files: list[Path]) -> str:
    """SHA-256, hexadecimal, of the names (relative to `root`) and contents of `files`, in any order."""
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.relative_to(root).as_posix().encode(errors="surrogateescape") + b"\0")
        with open(path, "rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Temporary path beside `path`, with its ending, that replaces it on a clean exit and is removed on an error."""
    temporary = path.with_name(f".{path.stem[:100]}.{uuid.uuid4().hex[:12]}{path.suffix}")
    unfinished.add(temporary)
    try:
        yield temporary
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        unfinished.discard(temporary)


_TEMPORARY = re.compile(r"\..*\.[0-9a-f]{12}(\.[^.]*)?", re.DOTALL)


def remove_temporaries(folder: Path) -> None:
    """Remove what killed processes left of files that they were writing by `atomic_path` below `folder`.

    Nobody else may be writing there.
    """
    for path in folder.rglob(".*"):
        if _TEMPORARY.fullmatch(path.name) and path.is_file():
            path.unlink()


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
    """Write `path` atomically: readers see the old file or the new one."""
    with atomic_path(path) as temporary, open(temporary, "xb") as stream:
        stream.write(data.encode() if isinstance(data, str) else data)


def write_json(path: Path, value: Any) -> None:
    """Atomically write `value` as indented JSON.

    Raises: ValueError for NaN and infinity, which JSON does not have.
    """
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def storage_errors(root: Path) -> Iterator[None]:
    """Turn the operating system's storage errors (disk full, read-only, denied …) below `root` into StorageError."""
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
            f"Finished parts are kept. Resume with the same command, or write elsewhere with: artifacts=DIR"
        ) from error


def output_folder(path: str, option: str) -> Path:
    """The folder that an option names, made where it is not there yet.

    Raises: StorageError where it cannot be made.
    """
    folder = Path(path).expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a null character
        reason = error.strerror if isinstance(error, OSError) else error
        raise StorageError(
            f"expected {option} to be a folder that can be made, got {path}: {reason}.\nGive another: {option}=DIR"
        ) from error
    return folder


def safe_name(name: str) -> str:
    """`name` as a folder name: letters, digits, dots, dashes and underscores; at most 60 characters."""
    cleaned = re.sub(r"[^\w.-]+", "_", name, flags=re.UNICODE).strip("._")
    return cleaned[:60] or "scene"


MAX_CELL_CHARS = 100_000  # readers of CSV have limits; that of Python's csv module is 131,072 characters


def write_csv(path: Path, fields: Sequence[str], rows: Iterable[Mapping[str, object]], escape: bool = False) -> None:
    """Atomically write a table as CSV, see `csv_text`; broken Unicode is replaced."""
    write_atomic(path, csv_text(fields, rows, escape).encode("utf-8", errors="replace"))


def csv_text(fields: Sequence[str], rows: Iterable[Mapping[str, object]], escape: bool = False) -> str:
    """A table as CSV.

    Args:
        rows: value by field.
        escape: for texts from the web: cells by `escape_cell`, cut after `MAX_CELL_CHARS`.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(fields))
    writer.writeheader()
    for row in rows:
        cells = {key: escape_cell(str(value))[:MAX_CELL_CHARS] for key, value in row.items()} if escape else row
        writer.writerow(cells)
    return text.getvalue()


def read_csv(path: Path, escaped: bool = False) -> Iterator[dict[str, str]]:
    """Rows of a table, text by field, one at a time; what a short row lacks is "".

    Args:
        escaped: undo `escape_cell`.
    """
    with open(path, newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream, restval=""):
            yield {key: unescape_cell(cell) for key, cell in row.items()} if escaped else row


_FORMULA = re.compile(r"'*[=+\-@\t\r＝＋－＠]")


def escape_cell(cell: str) -> str:
    """A CSV cell with an apostrophe in front if a spreadsheet would run it as a formula (OWASP, "CSV Injection").

    Formulas begin with `=`, `+`, `-`, `@`, a tab or a carriage return. A cell that has apostrophes before such a sign
    gets one more, so that `unescape_cell` restores every cell.
    """
    return f"'{cell}" if _FORMULA.match(cell) else cell


def unescape_cell(cell: str) -> str:
    """The cell that `escape_cell` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def write_at(path: Path, offset: int, data: bytes) -> None:
    """Write `data` at byte `offset` of a file that need not exist, not atomically.

    An ordinary write rather than a memory map: a full disk is then an error, not a signal.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    with os.fdopen(handle, "r+b") as stream:
        stream.seek(offset)
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def write_npz(path: Path, compress: bool = False, **arrays: Any) -> None:
    """Atomically write arrays by name as `.npz`; without pickled objects."""
    buffer = io.BytesIO()
    (np.savez_compressed if compress else np.savez)(buffer, **arrays)
    write_atomic(path, buffer.getvalue())
