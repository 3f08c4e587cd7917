"""Camera paths: key-frames of what windows show, moments between them, and their JSON files."""

from __future__ import annotations

import json

from fastapi import APIRouter, Response

from halonerf.camera_paths.path import CameraPath, KeyFrame, Sample
from halonerf.viewer.film import check_lights
from halonerf.viewer.saved_files import save_numbered
from halonerf.viewer.web.film_models import GivenPath, Moment, PathSample, SampledPath
from halonerf.viewer.web.light_table import LightTable
from halonerf.viewer.web.live_scene import LiveScene
from halonerf.viewer.web.pictures import checked_pose
from halonerf.viewer.web.routes.binary import attachment, described

MAX_SAMPLES = 4000  # of a preview: longer paths are sampled less often
LIGHTS_OF_SAMPLE = 2  # that the page can blend


def paths_router(scene: LiveScene) -> APIRouter:
    """Routes below `/api/paths`."""
    router = APIRouter(prefix="/paths", tags=["paths"])

    @router.post("", response_class=Response, responses=described("application/json"))
    def save(given: GivenPath) -> Response:
        """Keep a path, numbered, in the folder `paths`; the answer is the file that `stage=render` reads."""
        path = check_lights(path_of(given), scene.engine)
        content = path.to_json().encode()
        return attachment(content, "application/json", save_numbered(scene.folder / "paths", "path.json", content).name)

    @router.post("/keyframes")
    def keyframe(moment: Moment) -> dict[str, object]:
        """The key-frame of what a window shows, as paths store it."""
        light = scene.lights.as_path_light(scene.lights.mix(moment.light, moment.to, moment.blend))
        pose, words = checked_pose(moment.pose), moment.words
        key = KeyFrame(pose, moment.fov, light, words, moment.opacity, moment.threshold, moment.seconds)
        return stored_path(CameraPath((key,)))["keyframes"][0]

    @router.post("/samples")
    def samples(wanted: SampledPath) -> list[PathSample]:
        """Moments along a path, evenly spaced, for a preview."""
        path = check_lights(path_of(wanted), scene.engine)
        fps = min(wanted.fps, MAX_SAMPLES / max(path.duration, 1e-3))
        return [_described(sample, scene.lights) for sample in path.sample(fps)]

    return router


def path_of(given: GivenPath) -> CameraPath:
    """The camera path in a request. Raises: BadInput for what is none."""
    return CameraPath.from_json(json.dumps(given.path))


def stored_path(path: CameraPath) -> dict[str, list[dict[str, object]]]:
    """A path as its file holds it."""
    stored: dict[str, list[dict[str, object]]] = json.loads(path.to_json())
    return stored


def _described(sample: Sample, lights: LightTable) -> PathSample:
    shares = sorted(lights.shares(sample.light).items(), key=lambda light: -light[1])[:LIGHTS_OF_SAMPLE]
    return PathSample(
        seconds=round(sample.seconds, 3),
        pose=[round(value, 6) for value in sample.camera_to_world.flatten().tolist()],
        fov=round(sample.fov, 6),
        lights=[(number, round(share, 4)) for number, share in shares],
        words={word: round(opacity, 4) for word, opacity in sample.words.items()},
        threshold=round(sample.threshold, 4),
    )
