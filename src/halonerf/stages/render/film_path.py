"""The path that a film follows: a kept one, or a ready one made from the photos' cameras, in lights that are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from halonerf.camera_paths.path import AppearanceMix, AppearanceSpec, CameraPath, KeyFrame, appearance_mix
from halonerf.camera_paths.presets import PRESETS
from halonerf.data.scene.scene import Scene
from halonerf.errors import BadInput, MissingArtifact
from halonerf.expressions import read_texts
from halonerf.files import safe_name
from halonerf.protocols import TrainableField
from halonerf.rendering.appearance import OWN, resolve_appearance


def kept_path(name: str) -> CameraPath | None:
    """The path in the file `name`; None where that is the name of a ready path.

    Raises: MissingArtifact where it is neither; BadInput where the file holds no path.
    """
    if name in PRESETS:
        return None
    file = Path(name).expanduser()
    if not file.is_file():
        raise MissingArtifact(
            f"expected path={', '.join(PRESETS)} or the file of a camera path, got '{name}', which is not there.\n"
            "Draw and keep one with: halonerf stage=explore"
        )
    return CameraPath.read(file)


def path_texts(name: str, concepts: Sequence[str] | None) -> list[str]:
    """All that a film lights up: the words of its key-frames, and `concepts` where a key-frame has none.

    Raises: BadInput where one is no expression of words.
    """
    path = kept_path(name)
    texts = list(path.words()) if path is not None else []
    if concepts and (path is None or any(not key.words for key in path.keyframes)):
        texts += [str(text).strip() for text in concepts]
    if texts:
        read_texts(texts)
    return list(dict.fromkeys(texts))


def film_path(
    name: str,
    scene: Scene,
    views: Sequence[int],
    field: TrainableField,
    light: AppearanceSpec,
    concepts: Sequence[str] | None,
    seconds: float,
    hours: dict[str, str],
) -> CameraPath:
    """The path with everything filled in.

    Args:
        views: numbers of the photos that a ready path is made from.
        light: "own" leaves each key-frame its own; any other holds throughout.
        concepts: what key-frames light up that have no words.
        seconds: how long a ready path is.
        hours: as `known` of `resolve_appearance`.

    Raises: BadInput for a path of another scene, or with lights that are not there.
    """
    path = kept_path(name)
    if path is None:
        cameras, photos = [scene.views[i] for i in views], [scene.names[i] for i in views]
        path = PRESETS[name](cameras, scene.points, photos, seconds)
    elif path.scene and safe_name(path.scene) != safe_name(scene.name):
        raise BadInput(
            f"expected a camera path in the frame of scene '{scene.name}', got one of '{path.scene}' in {name}.\n"
            'If it is meant all the same, empty its "scene".'
        )
    settled = None if light == OWN else resolve_appearance(light, field, scene, "render.light", known=hours)
    words = tuple(str(text).strip() for text in concepts or ())
    keyframes = tuple(
        replace(
            key,
            light=settled or _there(key.light, field, scene, f"key-frame {i}'s light", hours),
            words=key.words or words,
        )
        for i, key in enumerate(path.keyframes)
    )
    aspect = path.aspect or median(scene.views[i].width / scene.views[i].height for i in views)
    return CameraPath(keyframes, path.loop, scene.name, aspect)


def light_path(
    photo: str | None,
    views: Sequence[int],
    scene: Scene,
    field: TrainableField,
    lights: Sequence[AppearanceSpec],
    seconds: float,
) -> tuple[int, CameraPath]:
    """A camera that stands where a photo was taken while the light changes in equal times, and that photo's number.

    photo: its name; None: the first of `views`. Raises: BadInput for a photo or a light that is not there.
    """
    if photo is not None and photo not in scene.names:
        names = ", ".join(scene.names[:5])
        raise BadInput(f"expected render.video_view to be a photo's name such as {names}; got '{photo}'")
    view = scene.index(photo) if photo is not None else views[0]
    there = [resolve_appearance(light, field, scene, "render.video") for light in lights]
    camera, step = scene.views[view].camera_to_world, seconds / (len(lights) - 1)
    return view, CameraPath(tuple(KeyFrame(camera, light=light, seconds=step) for light in there), scene=scene.name)


def against_light(light: Any, field: TrainableField, scene: Scene, hours: dict[str, str]) -> AppearanceMix | None:
    """What a film is compared with, as shares of lights. Raises: BadInput where it is not there."""
    return None if light is None else appearance_mix(_there(light, field, scene, "render.against", hours))


def _there(light: AppearanceSpec, field: TrainableField, scene: Scene, option: str, hours: dict[str, str]) -> Any:
    """As `resolve_appearance` has it; a path keeps names and codes only, for a file would be another on another machine."""
    names = light if isinstance(light, Mapping) else [light]
    if OWN in names and OWN not in scene.names:
        raise BadInput(f"expected {option} to be mean, a photo's name or an hour: '{OWN}' is of photos, not of films")
    return resolve_appearance(light, field, scene, option, files=False, known=hours)


def film_size(aspect: float | None, size: int) -> tuple[int, int]:
    """Width and height, px, even as films have them, the longer side about `size`."""
    aspect = aspect or 1.0
    width, height = (size, size / aspect) if aspect >= 1 else (size * aspect, size)
    return max(2, round(width / 2) * 2), max(2, round(height / 2) * 2)
