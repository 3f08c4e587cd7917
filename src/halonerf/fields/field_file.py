"""A fitted field as a file: safetensors; its kind and the names of the photos that it was fitted to in the header."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from halonerf.errors import BadInput


def write_field(path: Path, kind: str, tensors: Mapping[str, Tensor], names: Sequence[str]) -> None:
    """Write the tensors of a field of that kind, and its photos' names."""
    kept = {name: value.detach().contiguous() for name, value in tensors.items()}
    save_file(kept, path, metadata={"field": kind, "names": json.dumps(list(names))})


def read_field(path: Path, kind: str) -> tuple[dict[str, Tensor], list[str]]:
    """What `write_field` wrote: tensors and names.

    Raises: BadInput where the file is of another kind of field.
    """
    with safe_open(path, "pt") as file:
        header = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a mapping
    if header.get("field") != kind:
        raise BadInput(f"expected a field of {kind} in {path}, got '{header.get('field')}'.\nPass its own field=…")
    return tensors, json.loads(header["names"])
