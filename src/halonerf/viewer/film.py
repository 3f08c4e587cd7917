"""Render a window's camera path as a video, frame by frame as stage `render` does with path=FILE."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

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
from halonerf.visualization.palette import concept_colours
from halonerf.visualization.pictures import save_picture
from halonerf.visualization.video import StoredFrames, save_video


class FilmCancelled(UserError):
    """Somebody cancelled the film, or the viewer ended."""


def check_lights(path: CameraPath, engine: Engine) -> CameraPath:
    """The path with its lights resolved to the scene's own; no file is read for one.

    Raises: BadInput for any other light.
    """
    keyframes = []
    for number, key in enumerate(path.keyframes):
        where = f"the light of key-frame {number}"
        light = resolve_appearance(key.light, engine.field, engine.scene, where, False, engine.times_of_day)
        keyframes.append(replace(key, light=light))  # type: ignore[arg-type]
    return replace(path, keyframes=tuple(keyframes))


def render_film(
    target: Path,
    path: CameraPath,
    engine: Engine,
    size: tuple[int, int],
    fps: float,
    progress: Callable[[float], bool],
) -> Path:
    """Atomically write the video of a camera path.

    Args:
        target: the file, `.mp4`, `.webm` or `.gif`. The frames of a GIF, which is encoded in two passes, are stored
            beside it meanwhile.
        size: width and height, px.
        fps: frames per second.
        progress: called before each frame with the share that is rendered; returns False to cancel.
    Returns: `target`.

    Raises: BadInput for texts that are no expressions, or lights that the scene lacks; FilmCancelled.
    """
    path = check_lights(path, engine)
    words = path.words()
    results = {word: engine.find(word) for word in words}

    def maps(view: View, code: Tensor, visible: Sequence[str]) -> Tensor:
        probability = torch.stack([results[word].probability for word in visible], dim=1)
        confidence = torch.stack([results[word].confidence for word in visible], dim=1)
        return render_elements(engine.field, view, code, probability, confidence, engine.memory_mb)

    colours = concept_colours(words, engine.concepts)
    thresholds = {word: result.decision.threshold for word, result in results.items()}
    renderer = FrameRenderer(
        engine.field, engine.scene, maps, colours, thresholds, engine.memory_mb, duration=path.duration
    )
    samples = path.sample(fps)

    def frames() -> Iterator[np.ndarray]:
        for number, sample in enumerate(samples):
            if not progress(number / len(samples)):
                raise FilmCancelled("the film was cancelled")
            with engine.exclusive():  # for one frame, so that other windows are served between two
                frame = renderer.render(sample, sample.view(*size).to(engine.session.device))
            yield frame

    if target.suffix == ".gif":
        with TemporaryDirectory(prefix=".", dir=target.parent) as folder:
            stored = StoredFrames([Path(folder) / f"{number:05d}.png" for number in range(len(samples))])
            for place, frame in zip(stored.paths, frames(), strict=True):
                save_picture(place, frame)
            save_video(target, stored, fps)
    else:
        save_video(target, frames(), fps)
    return target
