"""Maps of all compared methods in the same photos, side by side."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from halonerf.artifacts import MANIFEST
from halonerf.data.formats.names import SCORES
from halonerf.data.formats.probability_maps import read_concepts, read_levels, render_path, segment_map_path
from halonerf.data.scene.scene import Scene
from halonerf.evaluation.examples import map_strip, stack_strips
from halonerf.evaluation.ground_truth import GroundTruthMasks
from halonerf.masks import match_concepts
from halonerf.stages.compare.runs import Method, RunResults

MAX_POSITIVE_SHARE = 0.3  # of a photo: a concept that covers more shows little of its surroundings


def method_strips(results: RunResults, protocol: str, photos: int) -> NDArray[np.uint8]:
    """Photo, every method's map and ground truth, of some concepts of each scene, uint8 [H, W, 3].

    photos: per scene, each of another concept.
    """
    strips = []
    first = results.grid.methods[0]
    for name in results.grid.scenes:
        evaluated = results.folder(name, protocol, first, "evaluate")
        scene = Scene(results.folder(name, protocol, first, "ingest"))
        options = json.loads((evaluated / MANIFEST).read_text())["config"]
        truths = GroundTruthMasks.open(scene, results.folder(name, protocol, first, "collect"), options["masks"])
        if truths is None:
            continue
        for view, concept in _choose_photos(evaluated / SCORES, photos, scene):
            maps = {m.title: _map(results, name, protocol, m, view, concept) for m in results.grid.methods}
            truth = truths.read(view, [concept])[0][concept]
            strips.append((f"{scene.name}: {concept}", map_strip(scene.photo(view).numpy(), {}, maps, truth)))
    return stack_strips(strips)


def _choose_photos(scores: Path, photos: int, scene: Scene) -> list[tuple[int, str]]:
    """View and concept of at most `photos` photos: for each concept, that in which it is largest but not too large."""
    best: dict[str, tuple[float, int]] = {}
    for path in sorted(scores.glob("*.json")):
        entry = json.loads(path.read_text())
        for concept, scored in entry["concepts"].items():
            share = scored["positive_share"]
            rank = (
                share if share <= MAX_POSITIVE_SHARE else MAX_POSITIVE_SHARE - share,
                scene.index(entry["photo"]),
            )
            best[concept] = max(best.get(concept, (-1.0, 0)), rank)
    return [(view, concept) for concept, (_, view) in list(best.items())[:photos]]


def _map(
    results: RunResults, scene: str, protocol: str, method: Method, view: int, concept: str
) -> NDArray[np.floating] | None:
    """A method's map of a concept in a view, [H, W] in [0, 1]; None without one."""
    stage, path_of = ("segment", segment_map_path) if method.maps == "2d" else ("localize", render_path)
    folder = results.folder(scene, protocol, method, stage)
    index = match_concepts([concept], read_concepts(folder)).get(concept)
    path = path_of(folder, view)
    if index is None or not path.is_file():
        return None
    return read_levels(path)[index].astype(np.float32) / 255
