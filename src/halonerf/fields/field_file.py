"""Files of fitted fields: safetensors, with the kind of field and the names of its photos in the header."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from halonerf.errors import BadInput


def write_field(path: Path, kind: str, tensors: Mapping[str, Tensor], names: Sequence[str]) -> None:
    """Write a field's tensors with its kind and the names of the photos that it was fitted to."""
    contiguous = {name: value.detach().contiguous() for name, value in tensors.items()}
    save_file(contiguous, path, metadata={"field": kind, "names": json.dumps(list(names))})


def read_field(path: Path, kind: str) -> tuple[dict[str, Tensor], list[str]]:
    """Read what `write_field` wrote: the tensors by name, and the photos' names.

    Raises: BadInput where the file holds another kind of field, or numbers that are not finite.
    """
    with safe_open(path, "pt") as file:
        header = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a mapping
    if header.get("field") != kind:
        raise BadInput(
            f"expected a field of {kind} in {path}, got '{header.get('field')}'.\n"
            "Open it with the field that was fitted: field=…"
        )
    wrong = {name: int((~values.isfinite()).sum()) for name, values in tensors.items() if values.is_floating_point()}
    if any(wrong.values()):
        found = ", ".join(f"{count} of {tensors[name].numel()} in {name}" for name, count in wrong.items() if count)
        raise BadInput(
            f"expected finite numbers in {path}, got NaN or infinity: {found}.\n"
            "The fit diverged, or the file is damaged: fit the field again with stage=reconstruct, with a lower "
            "learning rate (field.learning_rates of gaussians, field.learning_rate of ha_nerf)"
        )
    return tensors, json.loads(header["names"])
