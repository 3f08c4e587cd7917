"""Finished COLMAP models on disk: finding them, reading them, and finding their photos."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pycolmap

from halonerf.errors import BadInput

_PARTS = ("cameras", "images", "points3D")
MAX_DEPTH = 6  # folders below the one given; deeper trees are other people's data


def find_models(folder: Path) -> list[Path]:
    """Every folder at or below `folder` that holds a whole model, .bin or .txt, sorted."""
    found = []
    for parent, folders, files in os.walk(folder, followlinks=True):
        if len(Path(parent).relative_to(folder).parts) >= MAX_DEPTH:
            folders.clear()
        folders.sort()
        if any(all(f"{part}{ending}" in files for part in _PARTS) for ending in (".bin", ".txt")):
            found.append(Path(parent))
    return sorted(found)


def model_files(folder: Path) -> list[Path]:
    """The files that make the model up: the binary ones where both kinds are there, as COLMAP prefers."""
    ending = ".bin" if all((folder / f"{part}.bin").is_file() for part in _PARTS) else ".txt"
    names = [*_PARTS, "rigs", "frames"]
    return [folder / f"{name}{ending}" for name in names if (folder / f"{name}{ending}").is_file()]


def read_model(folder: Path) -> pycolmap.Reconstruction:
    """The model in `folder`.

    Raises: BadInput where COLMAP cannot read it.
    """
    try:
        return pycolmap.Reconstruction(folder)
    except (ValueError, RuntimeError, IndexError) as error:
        raise BadInput(
            f"expected a COLMAP model in {folder}, but COLMAP cannot read it: {str(error).splitlines()[0]}\n"
            "Check that cameras, images and points3D are whole and of one model; COLMAP's `model_converter` rewrites "
            "damaged text models."
        ) from error


def registered_names(model: pycolmap.Reconstruction) -> dict[str, int]:
    """Names of the photos with a pose -> image ids, in name order."""
    return dict(sorted((model.image(i).name, i) for i in model.reg_image_ids()))


def match_names(model_names: Sequence[str], files: Sequence[str]) -> dict[str, str]:
    """Which file each of the model's photos is: by path, else by the path's end, where that is unambiguous.

    Args:
        files: paths below the photo folder, forward slashes.
    Returns: model's name -> file; photos without a file are absent.
    """
    exact = set(files)
    by_base: dict[str, list[str]] = {}
    for file in files:
        by_base.setdefault(file.rsplit("/", 1)[-1].lower(), []).append(file)
    matched = {}
    for name in model_names:
        tidy = name.replace("\\", "/").removeprefix("./")
        if tidy in exact:
            matched[name] = tidy
            continue
        same = by_base.get(tidy.rsplit("/", 1)[-1].lower(), [])
        if len(same) == 1:
            matched[name] = same[0]
    taken: dict[str, int] = {}
    for file in matched.values():
        taken[file] = taken.get(file, 0) + 1
    return {name: file for name, file in matched.items() if taken[file] == 1}
