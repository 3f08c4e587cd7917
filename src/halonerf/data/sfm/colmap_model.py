"""COLMAP models on disk: search, reading, and matching of their image names to files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pycolmap

from halonerf.data.photo_names import PhotoNames
from halonerf.data.sfm.model_files import check_binary, image_names, unreadable_line
from halonerf.errors import BadInput, first_line

_PARTS = ("cameras", "images", "points3D")
MAX_DEPTH = 6  # folders below the one given


def find_models(folder: Path) -> list[Path]:
    """Folders at or below `folder` that hold a complete model, .bin or .txt, sorted."""
    found = []
    for parent, folders, files in os.walk(folder, followlinks=True):
        if len(Path(parent).relative_to(folder).parts) >= MAX_DEPTH:
            folders.clear()
        folders.sort()
        if any(all(f"{part}{ending}" in files for part in _PARTS) for ending in (".bin", ".txt")):
            found.append(Path(parent))
    return sorted(found)


def model_files(folder: Path) -> list[Path]:
    """Files of the model in `folder`: the binary ones where both kinds exist, as COLMAP prefers."""
    ending = ".bin" if all((folder / f"{part}.bin").is_file() for part in _PARTS) else ".txt"
    names = [*_PARTS, "rigs", "frames"]
    return [folder / f"{name}{ending}" for name in names if (folder / f"{name}{ending}").is_file()]


def read_model(folder: Path) -> pycolmap.Reconstruction:
    """The model in `folder`, its photos under their whole names.

    Raises: BadInput where it is damaged, or COLMAP cannot read it.
    """
    files = model_files(folder)
    try:
        check_binary(files)
        model = pycolmap.Reconstruction(folder)
        names = image_names(folder, files)
        for image_id in model.reg_image_ids():  # raises where a frame, a pose or a camera is missing
            model.camera(model.image(image_id).camera_id)
            model.image(image_id).cam_from_world()
    except (ValueError, RuntimeError, IndexError, MemoryError, OSError) as error:
        line = unreadable_line(files)
        where = f"Correct {line}, or delete what belongs to it." if line else "Export the model anew."
        raise BadInput(
            f"expected a COLMAP model in {folder}, but COLMAP cannot read it: {first_line(error)}\n"
            f"Check that cameras, images and points3D are complete and of one model. {where}"
        ) from error
    for image_id in model.images:
        if image_id in names:
            model.image(image_id).name = names[image_id]
    return model


def registered_names(model: pycolmap.Reconstruction) -> dict[str, int]:
    """Name to image id of the registered photos, sorted by name."""
    return dict(sorted((model.image(i).name, i) for i in model.reg_image_ids()))


def match_names(model_names: Sequence[str], files: Sequence[str]) -> dict[str, str]:
    """Files of the model's photos: by path, else by file name where that is unambiguous (`PhotoNames`).

    Args:
        files: paths below the photo folder, with forward slashes.
    Returns: name in the model to file; photos without a file are absent, and so are those that share one.
    """
    names = PhotoNames(files)
    found = {name: match for name in model_names if (match := names.find(name)).photo is not None}
    by_file: dict[str, list[tuple[int, str]]] = {}
    for name, match in found.items():
        by_file.setdefault(str(match.photo), []).append((match.looseness, name))
    owners = {file: sorted(claims) for file, claims in by_file.items()}
    return {
        claims[0][1]: file
        for file, claims in owners.items()
        if len(claims) == 1 or (claims[0][0] == 0 and claims[1][0] > 0)  # a path beats file names
    }
