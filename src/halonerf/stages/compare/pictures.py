"""How methods compare, for people: their curves, and their maps of the same photos side by side."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from halonerf.artifacts import MANIFEST
from halonerf.data.formats.probability_maps import read_concepts, read_levels, render_path, segment_map_path
from halonerf.data.scene.scene import Scene
from halonerf.evaluation.examples import stack_strips
from halonerf.evaluation.ground_truth import GroundTruthMasks
from halonerf.evaluation.protocol import resized_map
from halonerf.masks import match_concepts
from halonerf.stages.compare.runs import Method, RunResults
from halonerf.visualization.html_pages import labelled_strip
from halonerf.visualization.pictures import outline, overlay

LARGEST = 0.3  # of a photo: a part that fills more shows little of its surroundings


def method_strips(ends: RunResults, protocol: str, photos: int) -> NDArray[np.uint8]:
    """Of each scene some photos, one a concept: the photo, what each method finds, the truth. uint8 [H, W, 3]."""
    strips = []
    for name in ends.roads.scenes:
        first = ends.roads.methods[0]
        scene = Scene(ends.folder(name, protocol, first, "ingest"))
        options = json.loads((ends.folder(name, protocol, first, "evaluate") / MANIFEST).read_text())["config"]
        truths = GroundTruthMasks.open(scene, ends.folder(name, protocol, first, "collect"), options["masks"])
        if truths is None:
            continue
        for view, concept in _clearest(ends.folder(name, protocol, first, "evaluate") / "scores", photos, scene):
            strips.append((f"{scene.name}: {concept}", _strip(ends, name, protocol, scene, truths, view, concept)))
    return stack_strips(strips)


def _clearest(scores: Path, photos: int, scene: Scene) -> list[tuple[int, str]]:
    """A view a concept, of as many concepts as there are to be photos: where it is large, and not all there is."""
    best: dict[str, tuple[float, int]] = {}
    for path in sorted(scores.glob("*.json")):
        entry = json.loads(path.read_text())
        for concept, found in entry["concepts"].items():
            share = found["positive_share"]
            rank = (share if share <= LARGEST else LARGEST - share, scene.index(entry["photo"]))
            best[concept] = max(best.get(concept, (-1.0, 0)), rank)
    return [(view, concept) for concept, (_, view) in list(best.items())[:photos]]


def _strip(
    ends: RunResults, name: str, protocol: str, scene: Scene, truths: GroundTruthMasks, view: int, concept: str
) -> NDArray[np.uint8]:
    camera, photo = scene.views[view], scene.photo(view).numpy()
    masks, _ = truths.read(view, [concept])
    mask = resized_map(masks[concept].astype(np.float32), (camera.height, camera.width)) >= 0.5
    panels: list[tuple[str, NDArray[np.uint8] | None]] = [("photo", photo)]
    for method in ends.roads.methods:
        drawn = _map(ends, name, protocol, method, view, concept)
        lit = None if drawn is None else outline(overlay(photo, resized_map(drawn, mask.shape)), mask)
        panels.append((method.title, lit))
    panels.append(("truth", outline(overlay(photo, mask.astype(np.float32)), mask)))
    return labelled_strip(panels, (camera.width, camera.height))


def _map(
    ends: RunResults, name: str, protocol: str, method: Method, view: int, concept: str
) -> NDArray[np.floating] | None:
    """What a method says of a concept in a view, [H, W] in [0, 1]; None where it says nothing."""
    stage, path_of = ("segment", segment_map_path) if method.maps == "2d" else ("localize", render_path)
    folder = ends.folder(name, protocol, method, stage)
    index = match_concepts([concept], read_concepts(folder)).get(concept)
    path = path_of(folder, view)
    if index is None or not path.is_file():
        return None
    return read_levels(path)[index].astype(np.float32) / 255
