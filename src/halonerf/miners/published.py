"""Published key points of a data set: {photo: {key point: [x, y]}}, with the same names in all photos.

The layout of WikiScenes' `correspondence.json` (Wu et al., ICCV 2021). It has a billion characters, so it is parsed
entry by entry, and only the requested photos are kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from halonerf.errors import BadInput

CHUNK_CHARS = 1 << 22  # read at a time


def read_published(path: Path, names: Sequence[str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Positions [N, 2], px of the published photo, and indices [N] of key points, by photo.

    Args:
        names: the photos' paths; matched by their whole path or its end, where that is unambiguous.
    Returns: by name; photos that are not in the file are absent.

    Raises: BadInput where the file has another layout.
    """
    numbers: dict[str, int] = {}
    by_base: dict[str, list[str]] = {}
    for name in names:
        by_base.setdefault(name.rsplit("/", 1)[-1], []).append(name)
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for key, points in _entries(path):
        wanted = [n for n in by_base.get(key.rsplit("/", 1)[-1], ()) if _same_end(n, key)]
        if not wanted:
            continue
        try:
            pixels = np.asarray([points[k] for k in points], dtype=np.float64).reshape(len(points), 2)
        except (TypeError, ValueError) as error:
            raise _another_layout(path, f"photo '{key}' has key points that are not [x, y]") from error
        ids = np.asarray([numbers.setdefault(k, len(numbers)) for k in points], dtype=np.int64)
        for name in wanted:
            found.setdefault(name, []).append((pixels, ids))
    return {name: entries[0] for name, entries in found.items() if len(entries) == 1}


def _same_end(one: str, two: str) -> bool:
    """Whether one path ends with the other, in whole folders."""
    return f"/{one}".endswith(f"/{two.lstrip('/')}") or f"/{two}".endswith(f"/{one.lstrip('/')}")


def _entries(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    if not path.is_file():
        raise BadInput(f"expected a file of published key points at {path}, found none.\nGive it with: miner.path=FILE")
    decoder = json.JSONDecoder()
    with open(path, encoding="utf-8") as stream:
        text, first = "", True
        while True:
            try:
                index = _skip(text, 0, "{" if first else ",}")
                if not first and text[index - 1] == "}":
                    return
                if first and text[_skip_blanks(text, index)] == "}":
                    return
                key, index = decoder.raw_decode(text, _skip_blanks(text, index))
                value, index = decoder.raw_decode(text, _skip_blanks(text, _skip(text, index, ":")))
            except (
                IndexError,
                json.JSONDecodeError,
            ) as error:  # the entry continues beyond what was read, or is damaged
                more = stream.read(max(CHUNK_CHARS, len(text)))
                if not more:
                    raise _another_layout(path, "it ends within an entry, or is not JSON") from error
                text += more
                continue
            if not isinstance(key, str) or not isinstance(value, dict):
                raise _another_layout(path, f"'{key}' is not a photo with its key points")
            text, first = text[index:], False
            yield key, value


def _skip_blanks(text: str, index: int) -> int:
    while text[index].isspace():
        index += 1
    return index


def _skip(text: str, index: int, marks: str) -> int:
    """Index after the next non-blank character, which must be one of `marks`."""
    index = _skip_blanks(text, index)
    if text[index] not in marks:
        raise json.JSONDecodeError(f"expected one of {marks}", text, index)
    return index + 1


def _another_layout(path: Path, why: str) -> BadInput:
    return BadInput(
        f'expected {{"photo": {{"key point": [x, y], …}}, …}} in {path}, but {why}.\n'
        "WikiScenes publishes such a file as correspondence.json: https://github.com/tgxs002/wikiscenes"
    )
