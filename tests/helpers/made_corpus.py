"""A corpus of records in a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def corpus_of(folder: Path, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    (folder / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "_target_": "halonerf.data.corpora.Table",
        "path": str(folder / "records.jsonl"),
        "columns": {"image_id": "id", "caption": "text", "labels": "truth"},
    }
