"""Which photos should a landmark's concepts be lifted from, and how much should each count?

    python experiments/choice_paper.py [--scene synagogue] [--seed 503] [--photos 48] [--counts 5 10 20]

Mean average precision in 3D (over the photos in which a concept is, then over concepts) of concepts lifted from a few
photos of a procedural landmark, chosen in several ways: at random (mean and standard deviation over seeds), by the
terms of `segment`, and greedily for coverage; then with photos' maps weighted by agreement. Once with the segmenter's
maps, once where a share of the photos' maps are wrong: half of those get even noise, half another concept's map.
Prints tables; writes experiments/out/choice_paper.json.

The paper's scores want a segmenter that knows buildings, which the package's does not. Here they are given the
truth: a photo's building is what lies, by its true depth, within the box around all concepts, above the ground; the
rendering's is the same by the field's depth. So they are at their best.

What every photo says of every element is lifted once; any choice and any weights are then weighted sums of these.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from halonerf.artifacts import MANIFEST
from halonerf.data.scene.scene import Scene
from halonerf.factory import build
from halonerf.geometry import pixel_centres
from halonerf.heads.lifted import Lifted
from halonerf.lifting import lift_weighted
from halonerf.loading import fitted_scene
from halonerf.masks import MaskFolder
from halonerf.metrics import average_precision, mean_defined
from halonerf.prediction import largest_building_part
from halonerf.stages.segment.agreement import AgreementPass
from halonerf.stages.segment.photo_scores import certainty, combine_scores, geometry_score, occlusion_score, term_values
from halonerf.stages.segment.selection import incidence, select_for_coverage, select_top

OUT = Path(__file__).parent / "out"
WAYS: dict[str, dict[str, Any]] = {
    "quality": {"terms": ["quality"]},
    "paper": {"terms": ["geometry", "occlusion"], "combine": "sum"},
    "quality, coverage": {"terms": ["quality"], "select": "coverage"},
    "certainty": {"terms": ["certainty"]},
    "agreement": {"terms": ["agreement"]},
    "quality x agreement": {"terms": ["quality", "agreement"]},
    "agreement, coverage": {"terms": ["agreement"], "select": "coverage"},
    "quality x agreement, coverage": {"terms": ["quality", "agreement"], "select": "coverage"},
}
WEIGHTED = ("quality", "quality, coverage")  # with agreement weights, too
TOGETHER = 8  # ways of choosing that are rendered in one pass


@dataclass(frozen=True)
class Landmark:
    """A landmark with its field, maps and truth.

    maps: of each view, probability and where it is known, [P, H, W] both. truths: of each scored view, bool [P, h, w].
    entries: what `segment` noted of each photo, with the paper's scores.
    """

    scene: Scene
    field: Any
    concepts: list[str]
    maps: list[tuple[Tensor, Tensor]]
    truths: dict[int, np.ndarray]
    entries: list[dict[str, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scene", default="synagogue", choices=["cathedral", "mosque", "synagogue"])
    parser.add_argument("--seed", type=int, default=503, help="of the landmark; below 1000, never trained on")
    parser.add_argument("--photos", type=int, default=48)
    parser.add_argument("--steps", type=int, default=800, help="of the field's fit")
    parser.add_argument("--counts", type=int, nargs="+", default=[5, 10, 20], help="photos to lift from; then all")
    parser.add_argument("--random", type=int, default=5, help="seeds of the choice at random")
    parser.add_argument("--corrupt", type=float, default=0.3, help="share of photos with wrong maps")
    parser.add_argument("--corruptions", type=int, default=2, help="seeds of the wrong maps")
    parser.add_argument("--size", type=int, default=160, help="px, long side at which maps are scored")
    parser.add_argument("--every", type=int, default=1, help="1: all photos are scored; 2: every second one")
    parser.add_argument("--artifacts", default="artifacts", help="where the landmark is kept")
    options = parser.parse_args()
    landmark = opened(options)
    conditions = {key: value for key, value in vars(options).items() if key != "artifacts"}
    results: dict[str, Any] = {**conditions, "views": len(landmark.scene)}
    results["clean"] = measured(landmark, options)
    show("the segmenter's maps", [results["clean"]], options)
    write(results)
    results["corrupted"] = []
    for seed in range(options.corruptions):
        wrong, which = corrupted(landmark, options.corrupt, seed)
        results["corrupted"].append({**measured(wrong, options), "wrong": which})
        show(f"{options.corrupt:.0%} of the photos with wrong maps", results["corrupted"], options)
        write(results)


def write(results: dict[str, Any]) -> None:
    OUT.mkdir(exist_ok=True)
    (OUT / "choice_paper.json").write_text(json.dumps(results, indent=1) + "\n")


def opened(options: argparse.Namespace) -> Landmark:
    """The landmark, made where it is not there yet."""
    command = [sys.executable, "-m", "halonerf.cli", "stage=segment", f"scene={options.scene}"]
    command += [f"scene.seed={options.seed}", f"scene.photos={options.photos}", f"artifacts={options.artifacts}"]
    command += ["ingest.size=320", "ingest.features=3000", f"reconstruct.steps={options.steps}"]
    command += ["segment.score_terms=[quality,certainty,agreement]"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    folder = Path(done.stdout.strip().splitlines()[-1])
    keys = json.loads((folder / MANIFEST).read_text())["inputs"]
    inputs = {stage: folder.parents[1] / stage / key for stage, key in keys.items()}
    scene = fitted_scene(inputs)
    field = build(json.loads((inputs["reconstruct"] / MANIFEST).read_text())["config"]["field"])
    field.load(inputs["reconstruct"] / "field.safetensors")
    field.train(False).requires_grad_(False)
    concepts = json.loads((folder / "concepts.json").read_text())
    maps = [read_map(folder / "maps" / f"{i:05d}.npz", scene.valid(i)) for i in range(len(scene))]
    masks = MaskFolder.open(inputs["collect"] / "masks")
    whole = {i: drawn(scene, masks, concepts, i, None) for i in range(len(scene))}
    entries = [json.loads((folder / "photos" / f"{i:05d}.json").read_text()) for i in range(len(scene))]
    truths = {i: drawn(scene, masks, concepts, i, options.size) for i in range(0, len(scene), options.every)}
    landmark = Landmark(scene, field, concepts, maps, truths, entries)
    scored = paper_scores(landmark, whole, inputs["collect"] / "depth")
    return replace(landmark, entries=[{**entry, **paper} for entry, paper in zip(entries, scored, strict=True)])


def read_map(path: Path, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Probability and where it is known, [P, H, W]."""
    with np.load(path) as arrays:
        probability = torch.from_numpy(arrays["probability"]).float() / 255
    return probability, valid.float().expand_as(probability)


def drawn(scene: Scene, masks: MaskFolder, concepts: list[str], view: int, size: int | None) -> np.ndarray:
    """The true masks of a view, bool [P, h, w], with a long side of `size` px; None: the view's own."""
    camera = small(scene.views[view], size)
    found = []
    for concept in concepts:
        drawing = masks.read(concept, scene.names[view]).astype(np.float32)
        found.append(scene.undistort(view, drawing, (camera.width, camera.height)) >= 0.5)
    return np.stack(found)


def small(view: Any, size: int | None) -> Any:
    scale = 1 if size is None else min(1.0, size / max(view.width, view.height))
    return view.resized(round(view.width * scale), round(view.height * scale))


def paper_scores(landmark: Landmark, truths: dict[int, np.ndarray], depths: Path) -> list[dict[str, float]]:
    """Geometric and occlusion score of every photo, with the true building (see the head of this file)."""
    scene, field = landmark.scene, landmark.field
    true, shown, scales = [], [], []
    for view, name in enumerate(scene.names):
        with Image.open(depths / Path(name).with_suffix(".png")) as picture:
            metres = np.asarray(picture, np.float32) / 100
        true.append(scene.undistort(view, metres, nearest=True))
        pixels, depth, _ = scene.observations(view)
        column, row = pixels.numpy().astype(int).T
        there = true[-1][row.clip(0, true[-1].shape[0] - 1), column.clip(0, true[-1].shape[1] - 1)]
        scales += (depth.numpy()[there > 0] / there[there > 0]).tolist()
        with torch.no_grad():
            rendering = field.render(scene.views[view], field.appearance(name))
        shown.append(torch.where(rendering.opacity > 0.5, rendering.depth, 0.0).numpy())
    scale = float(np.median(scales))
    places = [points(scene.views[v], true[v] * scale) for v in range(len(scene))]
    on = np.concatenate([places[v][truths[v].any(axis=0) & (true[v] > 0)] for v in range(len(scene))])
    low, high = np.percentile(on, 1, axis=0), np.percentile(on, 99, axis=0)
    margin = 0.05 * (high - low)
    low, high = low - margin * [1, 1, 0], high + margin
    found = []
    for view in range(len(scene)):
        photo, rendering = (
            largest_building_part(((depth > 0) & ((place > low) & (place < high)).all(axis=-1)).astype(float))
            for depth, place in ((true[view], places[view]), (shown[view], points(scene.views[view], shown[view])))
        )
        valid = scene.valid(view).numpy()
        found.append({"geometry": geometry_score(photo), "occlusion": occlusion_score(photo, rendering, valid)})
    return found


def points(view: Any, depth: np.ndarray) -> np.ndarray:
    """World points [H, W, 3] of a view's depth along its axis [H, W]."""
    pixels = pixel_centres(view).numpy()
    rays = np.stack(
        [(pixels[..., 0] - view.cx) / view.fx, (pixels[..., 1] - view.cy) / view.fy, np.ones(depth.shape)], axis=-1
    )
    pose = view.camera_to_world.numpy()
    return (rays * depth[..., None]) @ pose[:, :3].T + pose[:, 3]


def corrupted(landmark: Landmark, share: float, seed: int) -> tuple[Landmark, list[int]]:
    """The landmark with wrong maps in a share of its photos, and which: even noise, or each concept another's map."""
    chance = np.random.default_rng(seed)
    which = chance.permutation(len(landmark.scene))[: round(share * len(landmark.scene))].tolist()
    maps, entries = list(landmark.maps), list(landmark.entries)
    for place, view in enumerate(which):
        probability, known = maps[view]
        if place % 2:
            wrong = torch.from_numpy(chance.random(probability.shape, np.float32))
        else:
            wrong = probability.roll(1 + int(chance.integers(len(landmark.concepts) - 1)), dims=0)
        maps[view] = (wrong, known)
        entries[view] = {**entries[view], "certainty": certainty(wrong.numpy(), known.numpy() > 0)}
    return replace(landmark, maps=maps, entries=entries), sorted(which)


def measured(landmark: Landmark, options: argparse.Namespace) -> dict[str, Any]:
    """Mean average precision of every way of choosing and weighting, by how many photos."""
    start = time.perf_counter()
    agreements = agreement(landmark)
    found: dict[str, Any] = {"agreement_s": time.perf_counter() - start, "map": {}}
    seen = [landmark.scene.observations(view)[2].numpy() for view in range(len(landmark.scene))]
    sees = incidence(seen, len(landmark.scene.points))
    every = len(landmark.scene)
    plain = np.ones((every, len(landmark.concepts)))

    def values(terms: list[str]) -> dict[str, np.ndarray]:
        return term_values(terms, landmark.entries, agreements, len(landmark.concepts))

    def concept_weights(terms: list[str]) -> np.ndarray:
        return combine_scores(values(terms), "product", len(landmark.concepts))[1]

    by_agreement = concept_weights(["agreement"])
    found["agreement"] = np.round(by_agreement, 3).tolist()
    tried: list[tuple[str, str, list[int], np.ndarray]] = []  # photos, name, which, weights
    for count in options.counts:
        for seed in range(options.random):
            pick = np.random.default_rng(seed).permutation(every)[:count].tolist()
            tried.append((str(count), "random", pick, plain))
        for name, way in WAYS.items():
            worth, _ = combine_scores(values(way["terms"]), way.get("combine", "product"), len(landmark.concepts))
            pick = (
                select_for_coverage(worth, sees, count) if way.get("select") == "coverage" else select_top(worth, count)
            )
            tried.append((str(count), name, pick, plain))
            if name in WEIGHTED:
                tried.append((str(count), f"{name} + agreement weights", pick, by_agreement))
    weights = {
        "all": plain,
        "all + quality weights": concept_weights(["quality"]),
        "all + certainty weights": concept_weights(["certainty"]),
        "all + agreement weights": by_agreement,
        "all + squared agreement weights": by_agreement**2,
        "all + certainty x agreement weights": concept_weights(["certainty", "agreement"]),
        "all + quality x agreement weights": concept_weights(["quality", "agreement"]),
    }
    tried += [("all", name, list(range(every)), weight) for name, weight in weights.items()]
    for (count, name, _, _), figure in zip(tried, scores(landmark, [way[2:] for way in tried]), strict=True):
        found["map"].setdefault(count, {}).setdefault(name, []).append(figure)
    return found


def agreement(landmark: Landmark) -> list[list[float | None]]:
    """As `segment` finds it, with these maps."""
    with tempfile.TemporaryDirectory() as folder:
        count = len(landmark.concepts)
        work = AgreementPass(Path(folder), landmark.scene, landmark.field, landmark.maps.__getitem__, count, 96)
        for item in work.items():
            work.process(item)
        return work.values()


def scores(landmark: Landmark, ways: list[tuple[list[int], np.ndarray]]) -> list[float]:
    """Mean average precision of what picked photos say, each weighted by a row of weights [V, P]; of each way.

    Several ways are rendered together: they are channels of one picture.
    """
    sums = [
        lift_weighted(landmark.field, view, given.permute(1, 2, 0), known.permute(1, 2, 0))
        for view, (given, known) in zip(landmark.scene.views, landmark.maps, strict=True)
    ]
    found: list[float] = []
    for first in range(0, len(ways), TOGETHER):
        said, support = [], []
        for pick, weights in ways[first : first + TOGETHER]:
            rows = torch.from_numpy(weights).float()
            said.append(torch.stack([rows[view] * sums[view][0] for view in pick]).sum(dim=0))
            support.append(torch.stack([rows[view] * sums[view][1] for view in pick]).sum(dim=0))
        head = Lifted()
        total = torch.cat(support, dim=1)
        head.hold(torch.cat(said, dim=1) / total.clamp(min=1e-12), total)
        found += rendered_scores(landmark, head, len(said))
    return found


def rendered_scores(landmark: Landmark, head: Lifted, ways: int) -> list[float]:
    """Mean average precision of a head that holds the concepts of several ways, one after the other."""
    found: list[dict[str, list[float]]] = [{concept: [] for concept in landmark.concepts} for _ in range(ways)]
    for view, truths in landmark.truths.items():
        camera = landmark.scene.views[view].resized(truths.shape[2], truths.shape[1])
        probability, _ = head.render(landmark.field, camera, landmark.field.mean_appearance())
        levels = (probability * 65535).round().numpy().astype(np.uint16).reshape(*truths.shape[1:], ways, -1)
        for index, concept in enumerate(landmark.concepts):
            if truths[index].any():
                for way in range(ways):
                    found[way][concept].append(average_precision(levels[:, :, way, index], truths[index]))
    return [mean_defined(mean_defined(values) for values in way.values()) for way in found]


def show(title: str, results: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """Print one table; mean and standard deviation over several results, and over seeds of the choice at random."""
    print(f"\n{title}: mAP in 3D; agreement took {np.mean([r['agreement_s'] for r in results]):.1f} s")
    counts = [str(count) for count in options.counts]
    print(f"{'photos chosen by':<44}" + "".join(f"{count:>18}" for count in counts))

    def cell(count: str, name: str) -> str:
        figures = np.concatenate([r["map"][count][name] for r in results])
        return f"{figures.mean():9.4f}" + (f" ± {figures.std(ddof=1):.4f}" if len(figures) > 1 else " " * 9)

    for name in results[0]["map"][counts[0]]:
        print(f"{name:<44}" + "".join(cell(count, name) for count in counts))
    for name in results[0]["map"]["all"]:
        print(f"{name:<44}{cell('all', name)}", flush=True)


if __name__ == "__main__":
    main()
