"""Appearance codes to render with: a photo's, the mean, a time of day's, an unseen photo's, or a mix of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from halonerf.camera_paths.path import AppearanceMix, AppearanceSpec
from halonerf.data.photo_io import read_photo
from halonerf.data.scene.scene import Scene
from halonerf.data.undistortion import working_size
from halonerf.errors import BadInput
from halonerf.geometry import resize_pixels
from halonerf.picture_files import UnreadablePicture
from halonerf.protocols import TrainableField
from halonerf.rendering.times_of_day import TIMES_OF_DAY, photos_by_time_of_day

OWN, MEAN = "own", "mean"


def resolve_appearance(
    spec: AppearanceSpec | AppearanceMix,
    field: TrainableField,
    scene: Scene,
    option: str,
    files: bool = True,
    times_of_day: dict[str, str] | None = None,
) -> AppearanceSpec:
    """A checked appearance, each time of day replaced by the photo that shows it, so that `appearance_code` is fast.

    Args:
        spec: a name, a code, or names and codes with weights.
        option: that the appearance was given by, for messages.
        files: whether `spec` may be the path of an image file.
        times_of_day: what `photos_by_time_of_day` gave, to share between calls; filled here when empty and needed.

    Raises: BadInput where `appearance_code` cannot compute it, for a time of day that the collection has no photo of,
        and for a file that `field` cannot encode.
    """
    if isinstance(spec, Mapping):
        if not spec or min(spec.values()) < 0 or sum(spec.values()) <= 0:
            raise BadInput(f"expected {option} to mix lights with weights above 0, got {dict(spec)}")
        mixed: dict[Any, float] = {}
        for name, weight in spec.items():
            part = resolve_appearance(name, field, scene, option, files, times_of_day)
            assert not isinstance(part, Mapping)  # a key cannot be one
            mixed[part] = mixed.get(part, 0.0) + weight
        return mixed
    if not isinstance(spec, str):
        return tuple(_checked_code(spec, field, option).tolist())
    if spec in (OWN, MEAN, *scene.names):
        return spec
    if spec in TIMES_OF_DAY:
        photos = times_of_day or photos_by_time_of_day(field, scene)
        if times_of_day is not None:
            times_of_day.update(photos)
        if spec not in photos:
            raise BadInput(
                f"expected {option} to be a light that the photos have, got '{spec}'.\n"
                f"Times of day that they have: {', '.join(photos) or 'none'}. "
                f"Others: mean, or a photo's name such as {', '.join(scene.names[:3])}"
            )
        return photos[spec]
    if not files or not Path(spec).expanduser().is_file():
        names, times = ", ".join(scene.names[:5]), ", ".join(TIMES_OF_DAY)
        file = ", or the path of an image file" if files else ""
        raise BadInput(
            f"expected {option}=own, mean, a photo's name such as {names}, one of {times}{file}; got '{spec}'"
        )
    if not field.encodes:
        raise BadInput(
            f"expected {option}=own, mean or a photo's name: this field has an appearance code for each of its photos "
            f"and computes none for other photos such as '{spec}'.\nFit a field that does with: field.codes=encoder"
        )
    return spec


def appearance_code(spec: AppearanceSpec | AppearanceMix, field: TrainableField, scene: Scene, view: int) -> Tensor:
    """The appearance code [A] that `spec` stands for.

    "own" is the code of the photo `view`. The code of a held-out photo is computed where the field encodes photos, and
    is the mean code elsewhere. A time of day is determined anew in each call: for repeated calls, pass the result of
    `resolve_appearance`.

    Raises: BadInput for a code whose length is not the field's.
    """
    if isinstance(spec, Mapping):
        weights = torch.tensor(list(spec.values()), dtype=torch.float64)
        codes = torch.stack([appearance_code(part, field, scene, view) for part in spec])
        return ((weights / weights.sum()).to(codes) @ codes).detach()
    if not isinstance(spec, str):
        return _checked_code(spec, field, "a light")
    if spec == MEAN:
        return field.mean_appearance()
    if spec in TIMES_OF_DAY and spec not in scene.names:
        spec = str(resolve_appearance(spec, field, scene, "a light"))
    if spec != OWN and spec not in scene.names:
        return field.encode(_read_photo(Path(spec).expanduser(), scene).to(field.mean_appearance().device))
    photo = view if spec == OWN else scene.index(spec)
    if field.encodes and scene.split[photo] != "train":
        return field.encode((scene.photo(photo).float() / 255).to(field.mean_appearance().device))
    return field.appearance(scene.names[photo])


def at_working_size(pixels: np.ndarray, scene: Scene) -> Tensor:
    """A photo, uint8 [h, w, 3], as fields encode it: [H, W, 3] in [0, 1], no larger than the scene's photos."""
    long_side = max(max(view.width, view.height) for view in scene.views)
    size = working_size(pixels.shape[1], pixels.shape[0], long_side)
    return torch.from_numpy(resize_pixels(pixels, *size).astype(np.float32) / 255)


def _checked_code(numbers: Sequence[float], field: TrainableField, option: str) -> Tensor:
    mean = field.mean_appearance()
    try:
        code = torch.tensor([float(x) for x in numbers])
    except (TypeError, ValueError) as error:
        raise BadInput(f"expected {option} to be a name or numbers, got {str(numbers)[:80]}") from error
    if code.shape != mean.shape or not code.isfinite().all():
        raise BadInput(
            f"expected {option} to be {len(mean)} finite numbers, an appearance code of this field, got {len(code)}: "
            "was the code saved with another fit?"
        )
    return code.to(mean)


def _read_photo(path: Path, scene: Scene) -> Tensor:
    """The upright photo of a file at working size, [H, W, 3] in [0, 1].

    Raises: BadInput where the file is no photo.
    """
    try:
        pixels = read_photo(path)
    except (OSError, UnreadablePicture) as error:
        raise BadInput(f"expected a photo at {path}, but it cannot be read: {error}") from error
    return at_working_size(pixels, scene)
