"""Files of a corpus: search, digest, and tolerant reading of JSON and text fields."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from halonerf.artifacts import fingerprint
from halonerf.errors import BadInput
from halonerf.files import files_digest

log = logging.getLogger(__name__)


def corpus_files(path: str | Path, endings: Sequence[str], option: str = "corpus.path") -> list[Path]:
    """`path` itself if it is a file; if it is a folder, its files with one of these endings, sorted.

    Raises: BadInput where there is none.
    """
    place = Path(path).expanduser()
    if place.is_file():
        return [place]
    found = sorted(p for p in place.iterdir() if p.suffix.lower() in endings) if place.is_dir() else []
    if not found:
        got = "a folder without any" if place.is_dir() else "nothing"
        raise BadInput(
            f"expected a file ({', '.join(endings)}) or a folder of them at {place}, got {got}.\n{option}=FILE"
        )
    return found


def files_identity(files: Sequence[Path], **options: Any) -> str:
    """Digest of the files' names and contents, independent of their folders, and of the options."""
    contents = [files_digest(path.parent, [path]) for path in files]
    return fingerprint({"files": contents, "options": options})


def read_json(path: Path) -> Any:
    """Contents of a JSON file, invalid UTF-8 replaced; None where it is missing or, with a warning, damaged."""
    try:
        return json.loads(path.read_bytes().decode("utf-8-sig", errors="replace"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        log.warning("%s cannot be read and is skipped: %s", path, error)
        return None


def field_text(value: Any) -> str:
    """Text of a metadata field: a text, a list of texts, or texts by language; "" for none."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "\n".join(filter(None, map(field_text, value.values())))
    if isinstance(value, (list, tuple)):
        return "\n".join(filter(None, map(field_text, value)))
    return "" if value is None or value != value else str(value)
