"""Validation of camera paths, which come from files and browsers and are not trusted."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from halonerf.errors import BadInput

MAX_FILE_BYTES = 16_000_000  # of a path's JSON
MAX_KEYFRAMES = 1000
MAX_WORDS, MAX_NAME_CHARS = 16, 500  # words of a key-frame; characters of a word, or of an appearance's name
MAX_MIX_SIZE, MAX_CODE_SIZE = 32, 4096  # appearances of a mix; numbers of an appearance code
MAX_COORDINATE = 1e6  # world units from the origin
MAX_SKEW = 1e-3  # largest entry of R^T R - I: rotations written with few digits are accepted
ROUNDING = 1e-6  # of single precision; with a larger error, the nearest rotation is taken


def parsed_json(text: str, kind: str, version: int, keys: Sequence[str]) -> dict[str, Any]:
    """The JSON object in `text`, with any of `keys` and no others; `keyframes` is a list of at most `MAX_KEYFRAMES`.

    Raises: BadInput.
    """
    if len(text) > MAX_FILE_BYTES:
        raise BadInput(f"expected a camera path of at most {MAX_FILE_BYTES} characters, got {len(text)}")
    try:
        entry = json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"expected JSON, got something else ({str(error)[:200]})") from error
    if not isinstance(entry, dict) or not isinstance(entry.get("keyframes"), list):
        raise BadInput(
            "expected a JSON object with a list 'keyframes'; see halonerf.camera_paths.path.CameraPath.to_json"
        )
    if entry.pop("kind", kind) != kind or entry.pop("version", version) != version:
        raise BadInput(f"expected a '{kind}' of version {version}, got another kind of file, or another version")
    if unknown := sorted(set(entry) - set(keys)):
        raise BadInput(f"expected any of kind, version, {', '.join(keys)}; got {', '.join(map(_short, unknown))}")
    if len(entry["keyframes"]) > MAX_KEYFRAMES:
        raise BadInput(f"expected at most {MAX_KEYFRAMES} key-frames, got {len(entry['keyframes'])}")
    if not isinstance(entry.get("loop", False), bool):
        raise BadInput(f"expected loop to be true or false, got {_short(entry['loop'])}")
    if not isinstance(entry.get("scene", ""), str) or len(entry.get("scene", "")) > MAX_NAME_CHARS:
        raise BadInput(f"expected scene to be a name, got {_short(entry['scene'])}")
    return entry


def checked_number(name: str, value: Any, low: float, high: float) -> float:
    """`value` as a float. Raises: BadInput unless it is a finite number in [low, high]."""
    try:
        valid = not isinstance(value, (bool, str)) and low <= float(value) <= high
    except (TypeError, ValueError, OverflowError):
        valid = False
    if not valid:
        raise BadInput(f"expected {name} to be a number from {low:g} to {high:g}, got {_short(value)}")
    return float(value)


def checked_pose(value: Any) -> Tensor:
    """A rigid camera-to-world transform [3, 4], float32; an inexact rotation is replaced by the nearest one.

    Raises: BadInput.
    """
    rows = value.tolist() if isinstance(value, Tensor) else value
    three_rows = isinstance(rows, (list, tuple)) and len(rows) == 3
    if not three_rows or not all(isinstance(row, (list, tuple)) and len(row) == 4 for row in rows):
        raise BadInput("expected camera_to_world to be 3 rows of 4 numbers")
    numbers = [[checked_number("camera_to_world", x, -MAX_COORDINATE, MAX_COORDINATE) for x in row] for row in rows]
    pose = torch.tensor(numbers, dtype=torch.float64)
    rotation = pose[:, :3]
    error = float((rotation.T @ rotation - torch.eye(3, dtype=torch.float64)).abs().max())
    if error > MAX_SKEW or torch.linalg.det(rotation) < 0:
        raise BadInput(
            f"expected camera_to_world to start with a right-handed rotation, orthonormal to {MAX_SKEW:g}; "
            f"got an error of {error:.2g} and a determinant of {float(torch.linalg.det(rotation)):.3g}"
        )
    if error > ROUNDING:
        u, _, v = torch.linalg.svd(rotation)
        rotation = u @ v
    return torch.cat([rotation, pose[:, 3:]], dim=1).float()


def checked_words(value: Any) -> tuple[str, ...]:
    """Words without surrounding spaces, each once. Raises: BadInput."""
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) > MAX_WORDS:
        raise BadInput(f"expected words to be a list of at most {MAX_WORDS} texts, got {_short(value)}")
    for word in value:
        if not isinstance(word, str) or not word.strip() or len(word) > MAX_NAME_CHARS:
            raise BadInput(f"expected a word to be a text of 1 to {MAX_NAME_CHARS} characters, got {_short(word)}")
    return tuple(dict.fromkeys(word.strip() for word in value))


def checked_appearance(value: Any) -> str | tuple[float, ...] | dict[str, float]:
    """An appearance's name, its code, or names with weights in a mix. Raises: BadInput."""
    if isinstance(value, str):
        return _checked_name(value)
    if isinstance(value, Mapping):
        if not 1 <= len(value) <= MAX_MIX_SIZE:
            raise BadInput(f"expected a mix of 1 to {MAX_MIX_SIZE} lights, got {len(value)}")
        mix = {
            _checked_name(name): checked_number("a light's weight", weight, 0.0, 1e6) for name, weight in value.items()
        }
        if not sum(mix.values()) > 0:
            raise BadInput("expected a mix of lights in which at least one has a weight above 0")
        return mix
    if isinstance(value, (list, tuple)) and 1 <= len(value) <= MAX_CODE_SIZE:
        return tuple(checked_number("an appearance code's entry", x, -1e6, 1e6) for x in value)
    raise BadInput(f"expected a light's name, a mix such as {{day: 1, night: 1}}, or a code; got {_short(value)}")


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME_CHARS:
        raise BadInput(f"expected a light's name of 1 to {MAX_NAME_CHARS} characters, got {_short(name)}")
    return name


def _refused(constant: str) -> float:
    raise ValueError(f"{constant} is not a number")


def _short(value: Any) -> str:
    text = repr(value) if not isinstance(value, float) or math.isfinite(value) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."
