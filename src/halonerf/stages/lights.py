"""In whose light a field is shown: a fitted photo's, the mean, or that of a photo that it never saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from halonerf.data.scenes import Scene
from halonerf.data.undistort import working_size
from halonerf.data.upright import read_photo
from halonerf.errors import BadInput
from halonerf.protocols import TrainableField

OWN, MEAN = "own", "mean"


def check_light(light: str, field: TrainableField, scene: Scene, option: str) -> None:
    """Raises: BadInput where `light` is neither own, mean, a photo's name, nor a file that `field` can encode."""
    if light in (OWN, MEAN, *scene.names):
        return
    if not Path(light).expanduser().is_file():
        names = ", ".join(scene.names[:5])
        raise BadInput(
            f"expected {option}=own, mean, a photo's name such as {names}, or the path of an image file; got '{light}'"
        )
    if not field.encodes:
        raise BadInput(
            f"expected {option}=own, mean or a photo's name: this field learns the light of its photos, and computes "
            f"none from other photos such as '{light}'.\nFit one that does with: field.codes=encoder"
        )


def light_of(light: str, field: TrainableField, scene: Scene, view: int) -> Tensor:
    """The appearance code [A] that `light` stands for; "own" is that of the photo `view`.

    A photo that was held out has no code of its own: its light is computed where the field encodes, else the mean.
    """
    if light == MEAN:
        return field.mean_appearance()
    if light != OWN and light not in scene.names:
        return field.encode(_photo(Path(light).expanduser(), scene).to(field.mean_appearance().device))
    shown = view if light == OWN else scene.index(light)
    if field.encodes and scene.split[shown] != "train":
        return field.encode((scene.photo(shown).float() / 255).to(field.mean_appearance().device))
    return field.appearance(scene.names[shown])


def blended(codes: Tensor, frames: int) -> Tensor:
    """Codes [frames, A] that pass through `codes` [K, A] in equal times, in straight lines: light that never jumps."""
    if frames < 2 or len(codes) < 2:
        return codes[:1].expand(frames, -1)
    time = torch.linspace(0, len(codes) - 1, frames, device=codes.device)
    before = time.long().clamp(max=len(codes) - 2)
    return torch.lerp(codes[before], codes[before + 1], (time - before)[:, None])


def _photo(path: Path, scene: Scene) -> Tensor:
    """A photo [H, W, 3] in [0, 1], upright, no larger than the scene's photos.

    Raises: BadInput where the file is no photo.
    """
    try:
        pixels = read_photo(path)
    except (OSError, ValueError, SyntaxError) as error:
        raise BadInput(f"expected a photo at {path}, but it cannot be read: {error}") from error
    most = max(max(view.width, view.height) for view in scene.views)
    size = working_size(pixels.shape[1], pixels.shape[0], most)
    small = Image.fromarray(pixels).resize(size, Image.Resampling.BOX)
    return torch.from_numpy(np.asarray(small).astype(np.float32) / 255)
