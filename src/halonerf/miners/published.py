"""Key points that a data set publishes: {photo: {key point: [x, y]}}, a key point being the same in every photo.

The layout of WikiScenes' `correspondence.json` (Wu et al., ICCV 2021). It has a billion characters, so it is read
entry by entry, and only the photos asked for are kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from halonerf.errors import BadInput

CHUNK = 1 << 22  # characters read at a time


def read_published(path: Path, names: Sequence[str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Positions [N, 2], px of the published photo, and key points' numbers [N], of every photo that the file knows.

    Args:
        names: the photos' paths; one is found by its path or by the end of it, where that is unambiguous.
    Returns: by name; photos that the file does not know are absent.

    Raises: BadInput where the file is of another layout.
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
    """Whether one path is the end of the other, in whole folders."""
    return f"/{one}".endswith(f"/{two.lstrip('/')}") or f"/{two}".endswith(f"/{one.lstrip('/')}")


def _entries(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    if not path.is_file():
        raise BadInput(
            f"expected a file of published key points at {path}, but there is none.\nName it: miner.path=FILE"
        )
    decoder = json.JSONDecoder()
    with open(path, encoding="utf-8") as stream:
        text, first = "", True
        while True:
            try:
                place = _skip(text, 0, "{" if first else ",}")
                if not first and text[place - 1] == "}":
                    return
                if first and text[_blank(text, place)] == "}":
                    return
                key, place = decoder.raw_decode(text, _blank(text, place))
                value, place = decoder.raw_decode(text, _blank(text, _skip(text, place, ":")))
            except (IndexError, json.JSONDecodeError) as error:  # the entry goes on beyond what was read, or is damaged
                more = stream.read(max(CHUNK, len(text)))
                if not more:
                    raise _another_layout(path, "it ends in the middle of an entry, or is no JSON") from error
                text += more
                continue
            if not isinstance(key, str) or not isinstance(value, dict):
                raise _another_layout(path, f"'{key}' is no photo with its key points")
            text, first = text[place:], False
            yield key, value


def _blank(text: str, place: int) -> int:
    while text[place].isspace():
        place += 1
    return place


def _skip(text: str, place: int, marks: str) -> int:
    """The place behind the next character, blanks aside, which must be one of `marks`."""
    place = _blank(text, place)
    if text[place] not in marks:
        raise json.JSONDecodeError(f"expected one of {marks}", text, place)
    return place + 1


def _another_layout(path: Path, why: str) -> BadInput:
    return BadInput(
        f'expected {{"photo": {{"key point": [x, y], …}}, …}} in {path}, but {why}.\n'
        "WikiScenes publishes such a file as correspondence.json: https://github.com/tgxs002/wikiscenes"
    )
