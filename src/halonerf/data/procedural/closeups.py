"""Training pictures for segmenters: close-ups of parts of many procedural buildings, with exact masks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from halonerf.data.procedural.building import GENERATOR_VERSION, Building, build, stream
from halonerf.data.procedural.crowd import crowd
from halonerf.data.procedural.develop import develop_photo
from halonerf.data.procedural.light import choose_hours, sample_light
from halonerf.data.procedural.renderer import SceneRenderer
from halonerf.data.procedural.viewpoints import Shot, choose_part, close_up, overview
from halonerf.files import write_atomic


@dataclass(frozen=True)
class CloseUp:
    """picture: uint8 [H, W, 3]. masks: bool [H, W] by concept, for every concept of the building's kind.

    subject: the concept that the camera was pointed at, "" for a view of the whole.
    """

    picture: NDArray[np.uint8]
    masks: dict[str, NDArray[np.bool_]]
    subject: str


def close_ups(
    kind: str, seed: int, count: int, width: int = 192, samples: int = 8, overviews: float = 0.1, threads: int = 1
) -> Iterator[CloseUp]:
    """`count` pictures of one building, in other light each. width: px of the longer side; overviews: their share."""
    building = build(kind, seed)
    studio = SceneRenderer(building.shell, building.textures(width), threads)
    hours = choose_hours(stream(kind, seed, "close-up hours"), count)
    for index in range(count):
        rng = stream(kind, seed, "close-up", index)
        shot = _shot(rng, studio, building, width, overviews)
        light = sample_light(rng, hours[index])
        camera = shot.camera
        passing = crowd(
            rng, camera.position, camera.forward, camera.half_angle, int(rng.integers(0, 8)), int(rng.integers(0, 2))
        )
        exposure = studio.render_passes(camera, light, passing, samples, index)
        yield CloseUp(
            develop_photo(exposure, camera, light, rng),
            {concept: exposure.mask(concept) for concept in building.concepts},
            shot.part.name if shot.part else "",
        )


def render_closeups(kind: str, seed: int, count: int, folder: Path, width: int = 192, samples: int = 8) -> None:
    """Write `close_ups` of one building below `folder`, unless the same were written before.

    `photos/<kind>_<seed>_<number>_<aim>.jpg` and `masks/<concept>/<same name>.png`, 0 or 255, one for every concept
    that the building has.
    """
    done, options = folder / f".{kind}_{seed}.done", f"{GENERATOR_VERSION} {count} {width} {samples}"
    if done.is_file() and done.read_text() == options:
        return
    for index, item in enumerate(close_ups(kind, seed, count, width, samples)):
        name = f"{kind}_{seed}_{index:04d}_{item.subject.replace(' ', '-') or 'whole'}"
        for concept, mask in item.masks.items():
            target = folder / "masks" / concept
            target.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask.astype(np.uint8) * 255).save(target / f"{name}.png")
        (folder / "photos").mkdir(parents=True, exist_ok=True)
        Image.fromarray(item.picture).save(folder / "photos" / f"{name}.jpg", quality=92)
    write_atomic(done, options)


def _shot(rng: np.random.Generator, studio: SceneRenderer, building: Building, width: int, overviews: float) -> Shot:
    if rng.random() >= overviews:
        for _ in range(20):
            concept = building.concepts[rng.integers(len(building.concepts))]
            parts = [part for part in building.parts if part.name == concept]
            shot = close_up(rng, studio.depth, width, choose_part(rng, parts), (0.4, 1.0))
            if shot is not None:
                return shot
    return overview(rng, studio.depth, width, building.extent, float(rng.choice([0.4, 0.7, 1.0])))
