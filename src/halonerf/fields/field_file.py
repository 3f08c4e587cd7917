"""Files of fitted fields: safetensors, with the kind of field and the names of its photos in the header."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from halonerf.errors import BadInput


def write_field(path: Path, kind: str, tensors: Mapping[str, Tensor], names: Sequence[str]) -> None:
    """Write a field's tensors with its kind and the names of the photos that it was fitted to.

    Equal fields have equal bytes: the header has one entry, since safetensors writes several in random order.
    """
    contiguous = {name: value.detach().contiguous() for name, value in tensors.items()}
    save_file(contiguous, path, metadata={"field": json.dumps({"kind": kind, "photos": list(names)})})


def read_field(path: Path, kind: str) -> tuple[dict[str, Tensor], list[str]]:
    """Read what `write_field` wrote: the tensors by name, and the photos' names.

    Raises: BadInput where the file holds another kind of field, or numbers that are not finite.
    """
    with safe_open(path, "pt") as file:
        header = _header((file.metadata() or {}).get("field", ""))
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a mapping
    if header.get("kind") != kind:
        found = f"'{header['kind']}'" if "kind" in header else "another file, or one of an earlier version"
        other = "Open it with the field that was fitted: field=…"
        advice = other if "kind" in header else "Fit it again: halonerf stage=reconstruct"
        raise BadInput(f"expected a field of {kind} in {path}, got {found}.\n{advice}")
    wrong = {name: int((~values.isfinite()).sum()) for name, values in tensors.items() if values.is_floating_point()}
    if any(wrong.values()):
        found = ", ".join(f"{count} of {tensors[name].numel()} in {name}" for name, count in wrong.items() if count)
        raise BadInput(
            f"expected finite numbers in {path}, got NaN or infinity: {found}.\n"
            "The fit diverged, or the file is damaged: fit the field again with stage=reconstruct, with a lower "
            "learning rate (field.learning_rates of gaussians, field.learning_rate of ha_nerf)"
        )
    return tensors, header["photos"]


def _header(text: str) -> dict[str, Any]:
    """What `write_field` put into the header; nothing where another program or version wrote it."""
    try:
        header = json.loads(text)
    except json.JSONDecodeError:
        return {}
    return header if isinstance(header, dict) else {}
