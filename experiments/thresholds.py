"""From which probability on is something found? IoU of rules that use no truth, on scenes that are evaluated already.

    python experiments/thresholds.py SCENE [SCENE ...] [--masks DIR] [--all]

SCENE is a folder of artifacts, `artifacts/<scene>`, with finished collect, ingest, segment and localize; of several
runs the last one counts. Every rule gets the probabilities of one concept, as weighted counts of 256 levels: of the
field's elements, weighted by confidence, for the 3D maps, and of the pixels of the lifted photos for the 2D maps. Its
threshold is applied to the maps of every photo with a mask that shows the concept, at native size (protocol=strict).

Prints for 3D and 2D, and each rule, the mean IoU over photos, then over concepts and scenes, the number of concepts
below 0.02, and with --all each concept's IoU and threshold. "best" is the best single threshold of each concept by its
truth: a bound that no rule can pass. `halonerf.thresholds` is the rule "otsu". Writes experiments/out/thresholds.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from halonerf.artifacts import MANIFEST
from halonerf.data.formats.names import HEAD
from halonerf.data.formats.photo_choice import read_photo_choice
from halonerf.data.formats.probability_maps import read_concepts, read_levels, read_maps, render_path, segment_map_path
from halonerf.data.scene.scene import Scene
from halonerf.evaluation.ground_truth import GroundTruthMasks
from halonerf.evaluation.protocol import resized_map
from halonerf.files import write_json
from halonerf.masks import match_concepts
from halonerf.metrics import mean_defined
from halonerf.thresholds import decide
from halonerf.visualization.pictures import to_uint8

OUT = Path(__file__).parent / "out"
LEVELS = np.arange(256) / 255
MIN_CONFIDENCE = 0.05  # fully opaque pixels; `heads.Lifted`
FOUND = 0.02  # IoU below which a concept counts as not found at all

Counts = NDArray[np.floating]  # [256], weight of each level of probability
Rule = Callable[[Counts, Counts], float]  # counts of the values that are split, and of the 2D maps, to a threshold


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path, nargs="+")
    parser.add_argument("--masks", help="folder of masks, <concept>/<photo>.png; none: the collection's")
    parser.add_argument("--all", action="store_true", help="print every concept, too")
    options = parser.parse_args()
    scenes = {folder.name: read_scene(folder, options.masks) for folder in options.scenes}
    written: dict[str, Any] = {}
    for method in ("3d", "2d"):
        print(f"{method}: {sum(len(scene['rows'][method]) for scene in scenes.values())} masks of photos")
        for name, rule in {**RULES, "best": None}.items():
            found = {scene: scores(entry, method, rule) for scene, entry in scenes.items()}
            values = [iou for entry in found.values() for iou, _ in entry.values()]
            missed = sum(value < FOUND for value in values)
            print(f"  {name:18} {mean_defined(values):.3f}   below {FOUND}: {missed} of {len(values)}")
            if options.all:
                for scene, entry in found.items():
                    listed = "  ".join(f"{concept} {iou:.2f} at {limit:.3f}" for concept, (iou, limit) in entry.items())
                    print(f"      {scene}: {listed}")
            written.setdefault(method, {})[name] = found
    OUT.mkdir(exist_ok=True)
    write_json(OUT / "thresholds.json", written)


def read_scene(root: Path, masks: str | None) -> dict[str, Any]:
    """The concepts of a scene; counts of elements and of 2D pixels, [P, 256] each; and counts of each masked photo.

    `rows` of each method: concept, counts of the pixels of its mask and of all known pixels, [256] each.
    """
    segment, localize, scene = last(root / "segment"), last(root / "localize"), Scene(last(root / "ingest"))
    concepts = read_concepts(localize)
    head = load_file(localize / HEAD)
    elements = np.stack(
        [
            np.bincount(to_uint8(values), weights=np.where(support >= MIN_CONFIDENCE, support, 0), minlength=256)
            for values, support in zip(head["probability"].T, head["support"].T, strict=True)
        ]
    )
    pixels, chosen = np.zeros((len(concepts), 256)), read_photo_choice(segment)
    truths = GroundTruthMasks.open(scene, last(root / "collect"), masks)
    if truths is None:
        raise SystemExit(f"expected masks of {root.name}, found none: name their folder with --masks")
    rows: dict[str, list[tuple[int, Counts, Counts]]] = {"2d": [], "3d": []}
    for view, name in enumerate(scene.names):
        path, valid = segment_map_path(segment, view), scene.valid(view).numpy()
        if name in chosen and path.is_file():
            pixels += np.stack([np.bincount(levels[valid], minlength=256) for levels in read_levels(path)])
        wanted = match_concepts(truths.concepts(view), concepts)
        if not wanted:
            continue
        masks_of_view, covered = truths.read(view, list(wanted))
        for method, file in (("2d", path), ("3d", render_path(localize, view))):
            for concept, values in (read_maps(file, wanted) or {}).items():
                mask = masks_of_view[concept]
                levels = to_uint8(resized_map(values, mask.shape))
                inside, known = (np.bincount(levels[part], minlength=256) for part in (covered & mask, covered))
                if inside.any():
                    rows[method].append((wanted[concept], inside, known))
    return {"concepts": concepts, "3d": elements, "2d": pixels, "rows": rows}


def last(folder: Path) -> Path:
    """The latest finished output of a stage."""
    return max((path.parent for path in folder.glob(f"*/{MANIFEST}")), key=lambda path: path.stat().st_mtime)


def scores(scene: Mapping[str, Any], method: str, rule: Rule | None) -> dict[str, tuple[float, float]]:
    """Mean IoU of each concept over its masked photos, and the threshold; the best one for None."""
    found = {}
    for number, concept in enumerate(scene["concepts"]):
        rows = [(inside, known) for place, inside, known in scene["rows"][method] if place == number]
        if rows:
            limits = LEVELS[1:] if rule is None else [rule(scene[method][number], scene["2d"][number])]
            found[concept] = max((mean_defined([iou(*row, limit) for row in rows]), float(limit)) for limit in limits)
    return found


def iou(inside: Counts, known: Counts, threshold: float) -> float:
    """IoU of the pixels from a threshold on with the mask. inside, known: counts of its and of all pixels' levels."""
    marked = threshold <= LEVELS
    hits = inside[marked].sum()
    return float(hits / (known[marked].sum() + inside.sum() - hits))


def otsu(counts: Counts, _: Counts) -> float:
    """The rule of `halonerf.thresholds`."""
    return decide(LEVELS, counts).threshold


def upper(counts: Counts, share: float) -> float:
    """The probability that a share of the weight reaches."""
    reached = np.cumsum(counts[::-1])[::-1] >= share * counts.sum()
    return float(LEVELS[reached][-1]) if share > 0 else 1.01


def same_area(counts: Counts, pixels: Counts) -> float:
    """The threshold that marks as much as the 2D maps have from one half on."""
    return upper(counts, pixels[128:].sum() / pixels.sum())


def half_of_the_highest(counts: Counts, _: Counts) -> float:
    """Half of what the highest hundredth reaches."""
    return upper(counts, 0.01) / 2


def entropy(counts: Counts, _: Counts) -> float:
    """Kapur, Sahoo and Wong (1985): the largest sum of the entropies of both classes."""
    share = counts / counts.sum()
    below, terms = np.cumsum(share), np.cumsum(np.where(share > 0, share * np.log(np.maximum(share, 1e-12)), 0))
    with np.errstate(all="ignore"):
        value = np.log(below * (1 - below)) - terms / below - (terms[-1] - terms) / (1 - below)
    return float(LEVELS[np.where(np.isfinite(value), value, -np.inf).argmax()]) + 0.5 / 255


def two_normals(counts: Counts, _: Counts) -> float:
    """Kittler and Illingworth (1986): the smallest error of two normal distributions."""
    share = counts / counts.sum()
    below, first, second = (np.cumsum(share * LEVELS**power) for power in (0, 1, 2))
    with np.errstate(all="ignore"):
        low = second / below - (first / below) ** 2
        high = (second[-1] - second) / (1 - below) - ((first[-1] - first) / (1 - below)) ** 2
        spread = below * np.log(np.maximum(low, 1e-5)) + (1 - below) * np.log(np.maximum(high, 1e-5))
        value = spread - 2 * (below * np.log(below) + (1 - below) * np.log(1 - below))
    return float(LEVELS[np.where(np.isfinite(value), value, np.inf).argmin()]) + 0.5 / 255


def weighted_mean(counts: Counts, _: Counts) -> float:
    """The mean probability, each weighted by itself."""
    return float((counts * LEVELS**2).sum() / max((counts * LEVELS).sum(), 1e-12))


RULES: dict[str, Rule] = {
    "one half": lambda counts, pixels: 0.5,
    "otsu": otsu,
    "same area as in 2D": same_area,
    "half the highest": half_of_the_highest,
    "largest entropy": entropy,
    "two normals": two_normals,
    "weighted mean": weighted_mean,
}


if __name__ == "__main__":
    main()
