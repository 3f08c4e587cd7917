"""Training photos for segmenters: close-ups of parts of procedural buildings, with exact masks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from halonerf.data.procedural.building import Building, build, stream
from halonerf.data.procedural.crowd import crowd
from halonerf.data.procedural.develop import develop_photo
from halonerf.data.procedural.light import choose_hours, sample_light
from halonerf.data.procedural.renderer import SceneRenderer
from halonerf.data.procedural.viewpoints import Shot, choose_part, close_up, overview


@dataclass(frozen=True)
class CloseUp:
    """A close-up with its masks.

    picture: uint8 [H, W, 3]. masks: bool [H, W] by concept, for every concept of the building. subject: the concept of
    the part that it shows, "" for the whole building.
    """

    picture: NDArray[np.uint8]
    masks: dict[str, NDArray[np.bool_]]
    subject: str


def close_ups(
    kind: str, seed: int, count: int, width: int = 192, samples: int = 8, overviews: float = 0.1, threads: int = 1
) -> Iterator[CloseUp]:
    """`count` photos of one building, each in another light.

    Args:
        width: px, long side. samples: light paths per pixel.
        overviews: share of photos of the whole building.
        threads: of this process; 0: all cores.
    """
    building = build(kind, seed)
    renderer = SceneRenderer(building.mesh, building.textures(width), threads)
    hours = choose_hours(stream(kind, seed, "close-up hours"), count)
    for index in range(count):
        rng = stream(kind, seed, "close-up", index)
        shot = _shot(rng, renderer, building, width, overviews)
        light = sample_light(rng, hours[index])
        camera = shot.camera
        passing = crowd(
            rng, camera.position, camera.forward, camera.half_angle, int(rng.integers(0, 8)), int(rng.integers(0, 2))
        )
        passes = renderer.render_passes(camera, light, passing, samples, index)
        yield CloseUp(
            develop_photo(passes, camera, light, rng),
            {concept: passes.mask(concept) for concept in building.concepts},
            shot.part.name if shot.part else "",
        )


def _shot(rng: np.random.Generator, renderer: SceneRenderer, building: Building, width: int, overviews: float) -> Shot:
    if rng.random() >= overviews:
        for _ in range(20):
            concept = building.concepts[rng.integers(len(building.concepts))]
            parts = [part for part in building.parts if part.name == concept]
            shot = close_up(rng, renderer.depth, width, choose_part(rng, parts), (0.4, 1.0))
            if shot is not None:
                return shot
    return overview(rng, renderer.depth, width, building.extent, float(rng.choice([0.4, 0.7, 1.0])))
