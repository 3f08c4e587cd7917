"""Capture of procedural photos: camera, light and passers-by of each, from the plan and the photo's index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from halonerf.data.procedural.building import Building, build, stream
from halonerf.data.procedural.crowd import crowd
from halonerf.data.procedural.develop import develop_photo
from halonerf.data.procedural.light import OutdoorLight, choose_hours, sample_light
from halonerf.data.procedural.mesh import Array, MeshBuilder
from halonerf.data.procedural.renderer import RenderPasses, SceneRenderer
from halonerf.data.procedural.viewpoints import Shot, choose_part, close_up, overview

Kind = Literal["cathedral", "mosque", "synagogue"]
FILM_DIAGONAL = float(np.hypot(36.0, 24.0))  # mm; equivalent focal lengths compare diagonals (CIPA DCG-001)


@dataclass(frozen=True)
class CapturePlan:
    """Options of a collection, which `ProceduralLandmark` documents."""

    kind: str
    seed: int
    photos: int
    width: int
    samples: int
    close_ups: float
    passers_by: float


@dataclass(frozen=True)
class Photo:
    """A photo with its ground truth.

    picture: uint8 [H, W, 3]. exif_focal: 35 mm equivalent, mm, as cameras round it; None without EXIF data.
    """

    picture: NDArray[np.uint8]
    shot: Shot
    light: OutdoorLight
    passes: RenderPasses
    exif_focal: int | None


class PhotoSession:
    """Renders the photos of a plan. threads: of this process; 0: all cores."""

    def __init__(self, plan: CapturePlan, threads: int = 0) -> None:
        self.plan = plan
        self.building = build(plan.kind, plan.seed)
        self._renderer = SceneRenderer(self.building.mesh, self.building.textures(plan.width), threads)
        rng = stream(plan.kind, plan.seed, "itinerary")
        self._hours = choose_hours(rng, plan.photos)
        self._subjects = _subjects(rng, plan, self.building)

    def photo(self, index: int) -> Photo:
        """Take photo `index`."""
        rng = stream(self.plan.kind, self.plan.seed, "photo", index)
        shot = self._shot(rng, self._subjects[index])
        light = sample_light(rng, self._hours[index])
        camera = shot.camera
        people, vehicles = rng.poisson(self.plan.passers_by), rng.poisson(self.plan.passers_by / 5)
        passing = crowd(rng, camera.position, camera.forward, camera.half_angle, people, vehicles)
        passes = self._renderer.render_passes(camera, light, passing, self.plan.samples, index)
        if shot.part is not None and _hidden(passes.depth, self._renderer.depth(camera), shot):
            passes = self._renderer.render_passes(camera, light, MeshBuilder(), self.plan.samples, index)
        picture = develop_photo(passes, camera, light, rng)
        has_exif = rng.random() < 0.75
        focal = round(camera.focal * FILM_DIAGONAL / np.hypot(camera.width, camera.height)) if has_exif else None
        return Photo(picture, shot, light, passes, focal)

    def _shot(self, rng: np.random.Generator, subject: str) -> Shot:
        parts = [part for part in self.building.parts if part.name == subject]
        for _ in range(25 if parts else 0):
            shot = close_up(rng, self._renderer.depth, self.plan.width, choose_part(rng, parts))
            if shot is not None:
                return shot
        closeness = float(rng.choice([0.45, 0.7, 1.0], p=[0.25, 0.25, 0.5]))
        return overview(rng, self._renderer.depth, self.plan.width, self.building.extent, closeness)


def _subjects(rng: np.random.Generator, plan: CapturePlan, building: Building) -> list[str]:
    """Concept of each photo, "" for the whole building: concepts alternate, in random order of the photos."""
    count = round(plan.photos * plan.close_ups)
    turns = [building.concepts[k % len(building.concepts)] for k in range(count)]
    subjects = turns + [""] * (plan.photos - count)
    return [subjects[k] for k in rng.permutation(plan.photos)]


def _hidden(depth: Array, empty_depth: Array, shot: Shot) -> bool:
    """Whether passers-by occlude more than half of the close-up's part."""
    assert shot.part is not None
    points = shot.camera.unproject(empty_depth)
    part = ((points > shot.part.low - 0.25) & (points < shot.part.high + 0.25)).all(-1) & (empty_depth > 0)
    return bool((depth[part] < empty_depth[part] - 0.05).mean() > 0.5) if part.any() else False
