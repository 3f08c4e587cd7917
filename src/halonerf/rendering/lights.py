"""In whose light a field is shown: a fitted photo's, the mean, an hour's, that of a photo it never saw, or a mix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from halonerf.camera_paths.path import LightMix, LightName
from halonerf.data.photo_io import read_photo
from halonerf.data.scene.scene import Scene
from halonerf.data.undistortion import working_size
from halonerf.errors import BadInput
from halonerf.protocols import TrainableField
from halonerf.rendering.times_of_day import TIMES_OF_DAY, named_lights

OWN, MEAN = "own", "mean"


def resolve_light(
    light: LightName,
    field: TrainableField,
    scene: Scene,
    option: str,
    files: bool = True,
    known: dict[str, str] | None = None,
) -> LightName:
    """The light, with the photos of the hours that it names in their place, so that `appearance_code` is quick.

    files: whether it may be the path of an image file. known: what `named_lights` gave, for calls that follow each
    other; filled here when it is empty and needed.
    Raises: BadInput where it is nothing that `appearance_code` knows, an hour that the collection has no photo of, or a file
    that `field` cannot encode.
    """
    if isinstance(light, Mapping):
        if not light or min(light.values()) < 0 or sum(light.values()) <= 0:
            raise BadInput(f"expected {option} to mix lights with weights above 0, got {dict(light)}")
        mixed: dict[Any, float] = {}
        for name, weight in light.items():
            part = resolve_light(name, field, scene, option, files, known)
            assert not isinstance(part, Mapping)  # a key cannot be one
            mixed[part] = mixed.get(part, 0.0) + weight
        return mixed
    if not isinstance(light, str):
        return tuple(_code(light, field, option).tolist())
    if light in (OWN, MEAN, *scene.names):
        return light
    if light in TIMES_OF_DAY:
        there = known or named_lights(field, scene)
        if known is not None:
            known.update(there)
        if light not in there:
            few = ", ".join(there) or "none"
            raise BadInput(
                f"expected {option} to be a light that the photos have, got '{light}'.\n"
                f"Hours that they have: {few}. Others: mean, or a photo's name such as {', '.join(scene.names[:3])}"
            )
        return there[light]
    few = ", ".join(scene.names[:5])
    if not files or not Path(light).expanduser().is_file():
        more = ", or the path of an image file" if files else ""
        raise BadInput(
            f"expected {option}=own, mean, a photo's name such as {few}, one of {', '.join(TIMES_OF_DAY)}{more}; got '{light}'"
        )
    if not field.encodes:
        raise BadInput(
            f"expected {option}=own, mean or a photo's name: this field learns the light of its photos, and computes "
            f"none from other photos such as '{light}'.\nFit one that does with: field.codes=encoder"
        )
    return light


def appearance_code(light: LightName | LightMix, field: TrainableField, scene: Scene, view: int) -> Tensor:
    """The appearance code [A] that `light` stands for; "own" is that of the photo `view`.

    A photo that was held out has no code of its own: its light is computed where the field encodes, else the mean. An
    hour is measured anew each time: where it is asked for often, pass what `resolve_light` made of it.
    Raises: BadInput for a code of another length than the field's.
    """
    if isinstance(light, Mapping):
        shares = torch.tensor(list(light.values()), dtype=torch.float64)
        codes = torch.stack([appearance_code(part, field, scene, view) for part in light])
        return ((shares / shares.sum()).to(codes) @ codes).detach()
    if not isinstance(light, str):
        return _code(light, field, "a light")
    if light == MEAN:
        return field.mean_appearance()
    if light in TIMES_OF_DAY and light not in scene.names:
        light = str(resolve_light(light, field, scene, "a light"))
    if light != OWN and light not in scene.names:
        return field.encode(_photo(Path(light).expanduser(), scene).to(field.mean_appearance().device))
    shown = view if light == OWN else scene.index(light)
    if field.encodes and scene.split[shown] != "train":
        return field.encode((scene.photo(shown).float() / 255).to(field.mean_appearance().device))
    return field.appearance(scene.names[shown])


def _code(numbers: Sequence[float], field: TrainableField, option: str) -> Tensor:
    mean = field.mean_appearance()
    try:
        code = torch.tensor([float(x) for x in numbers])
    except (TypeError, ValueError) as error:
        raise BadInput(f"expected {option} to be a name or numbers, got {str(numbers)[:80]}") from error
    if code.shape != mean.shape or not code.isfinite().all():
        raise BadInput(
            f"expected {option} to be {len(mean)} finite numbers, a code of this field, got {len(code)}: "
            "was it kept for another fit?"
        )
    return code.to(mean)


def _photo(path: Path, scene: Scene) -> Tensor:
    """A photo [H, W, 3] in [0, 1], upright, no larger than the scene's photos.

    Raises: BadInput where the file is no photo.
    """
    try:
        pixels = read_photo(path)
    except (OSError, ValueError, SyntaxError) as error:
        raise BadInput(f"expected a photo at {path}, but it cannot be read: {error}") from error
    return undistorted_photo(pixels, scene)


def undistorted_photo(pixels: np.ndarray, scene: Scene) -> Tensor:
    """A photo's pixels, uint8 [h, w, 3], as a field encodes them: [H, W, 3] in [0, 1], no larger than the scene's."""
    most = max(max(view.width, view.height) for view in scene.views)
    size = working_size(pixels.shape[1], pixels.shape[0], most)
    small = Image.fromarray(pixels).resize(size, Image.Resampling.BOX)
    return torch.from_numpy(np.asarray(small).astype(np.float32) / 255)
