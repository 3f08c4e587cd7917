"""Checks of a collection's photos: readable, large enough, of their camera's shape, no duplicates."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from halonerf.data.photo_io import PhotoFacts, inspect_photo

ASPECT_TOLERANCE = 0.01  # relative; photos are exported at rounded sizes


def check_photos(folder: Path, names: Sequence[str], workers: int) -> list[PhotoFacts]:
    """Facts about every photo, decoded in parallel."""
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda name: inspect_photo(folder, name), names))


def check_model_photos(folder: Path, sizes: Mapping[str, tuple[int, int]], workers: int) -> list[PhotoFacts]:
    """Facts about the photos of a finished model; where shape and camera differ, with a `problem`.

    COLMAP ignores EXIF orientation, other exporters apply it: the one that fits the camera is used.

    Args:
        sizes: photo to (width, height) of its camera, px; the photo may have another resolution.
    """

    def check(name: str) -> PhotoFacts:
        wanted = sizes[name]
        stored = inspect_photo(folder, name, upright=False)
        if stored.problem or _same_shape((stored.width, stored.height), wanted):
            return stored
        turned = inspect_photo(folder, name, upright=True)
        if _same_shape((turned.width, turned.height), wanted):
            return turned
        problem = f"{stored.width}x{stored.height} px, but the model's camera has {wanted[0]}x{wanted[1]} px"
        return PhotoFacts(name, problem=problem)

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(check, sizes))


def split_usable(facts: Iterable[PhotoFacts], duplicates: bool = False) -> tuple[list[PhotoFacts], list[PhotoFacts]]:
    """Usable photos, and those set aside with their `problem`.

    Args:
        duplicates: keep photos with the same pixels as an earlier one.
    """
    usable: list[PhotoFacts] = []
    aside: list[PhotoFacts] = []
    seen: dict[str, PhotoFacts] = {}
    for fact in facts:
        if fact.problem:
            aside.append(fact)
            continue
        first = seen.setdefault(fact.pixels, fact)
        if first is fact or duplicates:
            usable.append(fact)
        else:
            equal = "file" if fact.content == first.content else "pixels"
            aside.append(dataclasses.replace(fact, problem=f"duplicate: the same {equal} as {first.image_id}"))
    return usable, aside


def _same_shape(size: tuple[int, int], wanted: tuple[int, int]) -> bool:
    ratio = size[0] * wanted[1] / max(1, size[1] * wanted[0])
    return abs(ratio - 1.0) <= ASPECT_TOLERANCE
