"""The camera path of a film: saved or preset, with appearances that the field can render."""

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


def saved_path(name: str) -> CameraPath | None:
    """The camera path in the file `name`; None for the name of a preset.

    Raises: MissingArtifact for neither a preset nor a file; BadInput for a file that holds no camera path.
    """
    if name in PRESETS:
        return None
    file = Path(name).expanduser()
    if not file.is_file():
        raise MissingArtifact(
            f"expected path={', '.join(PRESETS)} or the file of a camera path, got '{name}', which does not exist.\n"
            "Make and save one with: halonerf stage=explore"
        )
    return CameraPath.read(file)


def path_texts(name: str, concepts: Sequence[str] | None) -> list[str]:
    """The texts that a film highlights: words of its key-frames, and `concepts` where a key-frame has none.

    Raises: BadInput for an invalid expression of words.
    """
    path = saved_path(name)
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
    times_of_day: dict[str, str],
) -> CameraPath:
    """The complete camera path of a film, in the scene's frame.

    Args:
        name: of a preset, or the file of a saved path.
        views: of the photos from which a preset is computed.
        light: appearance of all key-frames; "own" leaves each key-frame its own.
        concepts: that key-frames without words highlight.
        seconds: duration of a preset.
        times_of_day: as in `resolve_appearance`.

    Raises: BadInput for a path of another scene, or appearances that cannot be rendered.
    """
    path = saved_path(name)
    if path is None:
        cameras, photos = [scene.views[i] for i in views], [scene.names[i] for i in views]
        path = PRESETS[name](cameras, scene.points, photos, seconds)
    elif path.scene and safe_name(path.scene) != safe_name(scene.name):
        raise BadInput(
            f"expected a camera path in the frame of scene '{scene.name}', got one of '{path.scene}' in {name}.\n"
            'To use it anyway, empty its "scene".'
        )
    fixed = None
    if light != OWN:
        fixed = resolve_appearance(light, field, scene, "render.light", times_of_day=times_of_day)
    words = tuple(str(text).strip() for text in concepts or ())
    keyframes = tuple(
        replace(
            key,
            light=fixed or _resolve(key.light, field, scene, f"key-frame {i}'s light", times_of_day),
            words=key.words or words,
        )
        for i, key in enumerate(path.keyframes)
    )
    aspect = path.aspect or median(scene.views[i].width / scene.views[i].height for i in views)
    return CameraPath(keyframes, path.loop, scene.name, aspect)


def still_path(
    photo: str | None,
    views: Sequence[int],
    scene: Scene,
    field: TrainableField,
    lights: Sequence[AppearanceSpec],
    seconds: float,
) -> tuple[int, CameraPath]:
    """A path with the camera of one photo through several appearances in equal times, and the photo's index.

    photo: its name; None: the first of `views`. Raises: BadInput for an unknown photo or appearance.
    """
    if photo is not None and photo not in scene.names:
        names = ", ".join(scene.names[:5])
        raise BadInput(f"expected render.video_view to be a photo's name such as {names}; got '{photo}'")
    view = scene.index(photo) if photo is not None else views[0]
    resolved = [resolve_appearance(light, field, scene, "render.video") for light in lights]
    camera, step = scene.views[view].camera_to_world, seconds / (len(lights) - 1)
    return view, CameraPath(tuple(KeyFrame(camera, light=light, seconds=step) for light in resolved), scene=scene.name)


def comparison_mix(
    light: Any, field: TrainableField, scene: Scene, times_of_day: dict[str, str]
) -> AppearanceMix | None:
    """The appearance that a film is compared with; None for None. Raises: BadInput for an unknown appearance."""
    return None if light is None else appearance_mix(_resolve(light, field, scene, "render.against", times_of_day))


def film_size(aspect: float | None, size: int) -> tuple[int, int]:
    """Width and height, px, even numbers as video codecs need, the longer side about `size`."""
    aspect = aspect or 1.0
    width, height = (size, size / aspect) if aspect >= 1 else (size * aspect, size)
    return max(2, round(width / 2) * 2), max(2, round(height / 2) * 2)


def _resolve(
    light: AppearanceSpec, field: TrainableField, scene: Scene, option: str, times_of_day: dict[str, str]
) -> Any:
    """As `resolve_appearance`, without files: on another machine the same file name may hold another photo."""
    names = light if isinstance(light, Mapping) else [light]
    if OWN in names and OWN not in scene.names:
        raise BadInput(f"expected {option} to be mean, a photo's name or a time of day: only photos have '{OWN}'")
    return resolve_appearance(light, field, scene, option, files=False, times_of_day=times_of_day)
