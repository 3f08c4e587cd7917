"""What a camera path may hold: it comes from a file or a browser, so nothing about it is taken for granted."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from halonerf.errors import BadInput

LARGEST = 16_000_000  # bytes of a path's JSON
MOST = 1000  # key-frames
MOST_WORDS, LONGEST_WORD = 16, 500  # words of a key-frame; characters of a word, or of a light's name
MOST_LIGHTS, MOST_NUMBERS = 32, 4096  # lights of a mix; numbers of an appearance code
FARTHEST = 1e6  # world units from the origin
SKEW = 1e-3  # how far R^T R may be from the identity, for numbers that somebody rounded
EXACT = 1e-6  # what single precision keeps


def parsed(text: str, kind: str, version: int, keys: Sequence[str]) -> dict[str, Any]:
    """The object that `text` holds, with any of `keys` and nothing else; `keyframes` is a list that is not too long.

    Raises: BadInput.
    """
    if len(text) > LARGEST:
        raise BadInput(f"expected a camera path of at most {LARGEST} characters, got {len(text)}")
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
    if len(entry["keyframes"]) > MOST:
        raise BadInput(f"expected at most {MOST} key-frames, got {len(entry['keyframes'])}")
    if not isinstance(entry.get("loop", False), bool):
        raise BadInput(f"expected loop to be true or false, got {_short(entry['loop'])}")
    if not isinstance(entry.get("scene", ""), str) or len(entry.get("scene", "")) > LONGEST_WORD:
        raise BadInput(f"expected scene to be a name, got {_short(entry['scene'])}")
    return entry


def number(name: str, value: Any, least: float, most: float) -> float:
    """Raises: BadInput unless it is a finite number in [least, most]."""
    try:
        fits = not isinstance(value, (bool, str)) and least <= float(value) <= most
    except (TypeError, ValueError, OverflowError):
        fits = False
    if not fits:
        raise BadInput(f"expected {name} to be a number from {least:g} to {most:g}, got {_short(value)}")
    return float(value)


def checked_pose(value: Any) -> Tensor:
    """A rigid camera [3, 4], float32; a rotation that is not exact gives way to the nearest one.

    Raises: BadInput.
    """
    rows = value.tolist() if isinstance(value, Tensor) else value
    right = isinstance(rows, (list, tuple)) and len(rows) == 3
    if not right or not all(isinstance(row, (list, tuple)) and len(row) == 4 for row in rows):
        raise BadInput("expected camera_to_world to be 3 rows of 4 numbers")
    numbers = [[number("camera_to_world", x, -FARTHEST, FARTHEST) for x in row] for row in rows]
    pose = torch.tensor(numbers, dtype=torch.float64)
    rotation = pose[:, :3]
    error = float((rotation.T @ rotation - torch.eye(3, dtype=torch.float64)).abs().max())
    if error > SKEW or torch.linalg.det(rotation) < 0:
        raise BadInput(
            f"expected camera_to_world to start with a right-handed rotation, orthonormal to {SKEW:g}; "
            f"got an error of {error:.2g} and a determinant of {float(torch.linalg.det(rotation)):.3g}"
        )
    if error > EXACT:
        u, _, v = torch.linalg.svd(rotation)
        rotation = u @ v
    return torch.cat([rotation, pose[:, 3:]], dim=1).float()


def checked_words(value: Any) -> tuple[str, ...]:
    """Texts. Raises: BadInput."""
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) > MOST_WORDS:
        raise BadInput(f"expected words to be a list of at most {MOST_WORDS} texts, got {_short(value)}")
    for word in value:
        if not isinstance(word, str) or not word.strip() or len(word) > LONGEST_WORD:
            raise BadInput(f"expected a word to be a text of 1 to {LONGEST_WORD} characters, got {_short(word)}")
    return tuple(dict.fromkeys(word.strip() for word in value))


def checked_light(value: Any) -> str | tuple[float, ...] | dict[str, float]:
    """A light's name, a code, or names with weights. Raises: BadInput."""
    if isinstance(value, str):
        return _light_name(value)
    if isinstance(value, Mapping):
        if not 1 <= len(value) <= MOST_LIGHTS:
            raise BadInput(f"expected a mix of 1 to {MOST_LIGHTS} lights, got {len(value)}")
        mix = {_light_name(name): number("a light's weight", weight, 0.0, 1e6) for name, weight in value.items()}
        if not sum(mix.values()) > 0:
            raise BadInput("expected a mix of lights in which one at least has a weight above 0")
        return mix
    if isinstance(value, (list, tuple)) and 1 <= len(value) <= MOST_NUMBERS:
        return tuple(number("an appearance code's entry", x, -1e6, 1e6) for x in value)
    raise BadInput(f"expected a light's name, a mix such as {{day: 1, night: 1}}, or a code; got {_short(value)}")


def _light_name(name: Any) -> str:
    if not isinstance(name, str) or not name.strip() or len(name) > LONGEST_WORD:
        raise BadInput(f"expected a light's name of 1 to {LONGEST_WORD} characters, got {_short(name)}")
    return name


def _refused(constant: str) -> float:
    raise ValueError(f"{constant} is no number")


def _short(value: Any) -> str:
    text = repr(value) if not isinstance(value, float) or math.isfinite(value) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."
