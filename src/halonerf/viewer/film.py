"""A film of a window's path, drawn as `stage=render path=…` draws it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from halonerf.camera_paths.path import CameraPath
from halonerf.errors import UserError
from halonerf.queries.word_layers import render_elements
from halonerf.rendering.appearance import resolve_appearance
from halonerf.rendering.film_frames import FrameRenderer
from halonerf.types import View
from halonerf.viewer.engine import Engine
from halonerf.visualization.video import save_video


class Stopped(UserError):
    """Whoever wanted the film has gone."""


def checked(path: CameraPath, engine: Engine) -> CameraPath:
    """The path, if all its lights are the landmark's own; no file is read for one.

    Raises: BadInput for any other light.
    """
    scene, keyframes = engine.scene, []
    for place, key in enumerate(path.keyframes):
        light = resolve_appearance(
            key.light, scene.field, scene.data, f"the light of key-frame {place}", False, engine.named
        )
        keyframes.append(replace(key, light=light))  # type: ignore[arg-type]
    return replace(path, keyframes=tuple(keyframes))


def film(
    target: Path,
    path: CameraPath,
    engine: Engine,
    size: tuple[int, int],
    fps: float,
    progress: Callable[[float], bool],
) -> Path:
    """Write the film of a path to `target` (`.mp4`, `.webm`), whole or not at all.

    Args:
        size: width and height, px.
        progress: told the share that is done; gives whether anybody still wants the rest.

    Raises: BadInput for words or lights that cannot be; Stopped.
    """
    path = checked(path, engine)
    words = path.words()
    found = {word: engine.find(word) for word in words}

    def maps(view: View, code: Tensor, shown: Sequence[str]) -> Tensor:
        probability = torch.stack([found[word].probability for word in shown], dim=1)
        confidence = torch.stack([found[word].confidence for word in shown], dim=1)
        return render_elements(engine.scene.field, view, code, probability, confidence, engine.memory_mb)

    tints = {word: number for number, word in enumerate(words)}
    drawing = FrameRenderer(
        engine.scene.field, engine.scene.data, maps, tints, engine.memory_mb, duration=path.duration
    )
    samples = path.sample(fps)

    def frames() -> Iterator[np.ndarray]:
        for number, sample in enumerate(samples):
            if not progress(number / len(samples)):
                raise Stopped("the film is wanted no more")
            with engine.alone():  # for one frame: other windows have their turn between two
                picture = drawing.render(sample, sample.view(*size).to(engine.scene.device))
            yield picture

    save_video(target, frames(), fps)
    return target
