"""Which photos are taken: every photo's camera, light and passers-by follow from the plan and its number alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from halonerf.data.procedural.building import Building, build, stream
from halonerf.data.procedural.crowd import crowd
from halonerf.data.procedural.develop import develop_photo
from halonerf.data.procedural.light import OutdoorLight, choose_hours, sample_light
from halonerf.data.procedural.mesh import Array, Shell
from halonerf.data.procedural.renderer import RenderPasses, SceneRenderer
from halonerf.data.procedural.viewpoints import Shot, choose_part, close_up, overview

FILM_DIAGONAL = float(np.hypot(36.0, 24.0))  # mm; equivalent focal lengths compare diagonals (CIPA DCG-001)


@dataclass(frozen=True)
class CapturePlan:
    """The options of a collection (`ProceduralLandmark` explains them)."""

    kind: str
    seed: int
    photos: int
    width: int
    samples: int
    close_ups: float
    passers_by: float


@dataclass(frozen=True)
class Photo:
    """picture: uint8 [H, W, 3]. exif_focal: mm for 35 mm film as cameras round it, None where the file says nothing."""

    picture: NDArray[np.uint8]
    shot: Shot
    light: OutdoorLight
    exposure: RenderPasses
    exif_focal: int | None


class PhotoSession:
    """A landmark with a photographer before it. threads: of this process; 0 for all cores."""

    def __init__(self, plan: CapturePlan, threads: int = 0) -> None:
        self.plan = plan
        self.building = build(plan.kind, plan.seed)
        self._studio = SceneRenderer(self.building.shell, self.building.textures(plan.width), threads)
        rng = stream(plan.kind, plan.seed, "itinerary")
        self._hours = choose_hours(rng, plan.photos)
        self._aims = _aims(rng, plan, self.building)

    def photo(self, index: int) -> Photo:
        """Take photo `index`."""
        rng = stream(self.plan.kind, self.plan.seed, "photo", index)
        shot = self._shot(rng, self._aims[index])
        light = sample_light(rng, self._hours[index])
        camera = shot.camera
        people, vehicles = rng.poisson(self.plan.passers_by), rng.poisson(self.plan.passers_by / 5)
        passing = crowd(rng, camera.position, camera.forward, camera.half_angle, people, vehicles)
        exposure = self._studio.render_passes(camera, light, passing, self.plan.samples, index)
        if shot.part is not None and _hidden(exposure.depth, self._studio.depth(camera), shot):
            exposure = self._studio.render_passes(camera, light, Shell(), self.plan.samples, index)
        picture = develop_photo(exposure, camera, light, rng)
        told = rng.random() < 0.75
        focal = round(camera.focal * FILM_DIAGONAL / np.hypot(camera.width, camera.height)) if told else None
        return Photo(picture, shot, light, exposure, focal)

    def _shot(self, rng: np.random.Generator, aim: str) -> Shot:
        parts = [part for part in self.building.parts if part.name == aim]
        for _ in range(25 if parts else 0):
            shot = close_up(rng, self._studio.depth, self.plan.width, choose_part(rng, parts))
            if shot is not None:
                return shot
        closeness = float(rng.choice([0.45, 0.7, 1.0], p=[0.25, 0.25, 0.5]))
        return overview(rng, self._studio.depth, self.plan.width, self.building.extent, closeness)


def _aims(rng: np.random.Generator, plan: CapturePlan, building: Building) -> list[str]:
    """The concept that each photo aims at, "" for the whole: concepts take turns, photos come in random order."""
    count = round(plan.photos * plan.close_ups)
    turns = [building.concepts[k % len(building.concepts)] for k in range(count)]
    aims = turns + [""] * (plan.photos - count)
    return [aims[k] for k in rng.permutation(plan.photos)]


def _hidden(depth: Array, empty_square: Array, shot: Shot) -> bool:
    """Whether passers-by stand before more than half of the part that was aimed at."""
    assert shot.part is not None
    points = shot.camera.unproject(empty_square)
    part = ((points > shot.part.low - 0.25) & (points < shot.part.high + 0.25)).all(-1) & (empty_square > 0)
    return bool((depth[part] < empty_square[part] - 0.05).mean() > 0.5) if part.any() else False
