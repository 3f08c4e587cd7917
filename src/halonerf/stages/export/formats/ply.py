"""PLY files: binary, little endian, one element "vertex" with named properties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from halonerf.files import write_atomic

TYPES = {"f4": "float", "f8": "double", "u1": "uchar", "i4": "int"}  # numpy's names -> PLY's names


def write_ply(path: Path, columns: Mapping[str, np.ndarray], comments: Sequence[str] = ()) -> None:
    """Atomically write a table of vertices.

    Args:
        columns: arrays [N] of float32, float64, uint8 or int32, by ASCII names without spaces, in the file's order.
        comments: lines of the header; non-ASCII characters are escaped, line ends become spaces.
    """
    kinds = [(name, np.asarray(values).dtype.newbyteorder("<")) for name, values in columns.items()]
    table = np.empty(len(next(iter(columns.values()))), dtype=kinds)
    for name, values in columns.items():
        table[name] = values
    header = ["ply", "format binary_little_endian 1.0"]
    header += [f"comment {' '.join(line.split())}".encode("ascii", "backslashreplace").decode() for line in comments]
    header += [f"element vertex {len(table)}", *(f"property {TYPES[kind.str[1:]]} {name}" for name, kind in kinds)]
    write_atomic(path, "\n".join([*header, "end_header\n"]).encode("ascii") + table.tobytes())
