"""How much do a few strokes on one photo or several find in all other photos? Simulated strokes, true masks.

    python experiments/teaching.py SCENE [SCENE …] [--masks DIR] [--strokes 1 2 4 8] [--photos 1 3] [--choices 6]

SCENE is a folder of artifacts, `artifacts/<scene>`, with finished collect, ingest and reconstruct; of several runs the
last one counts. A simulated user annotates a concept on chosen photos: strokes inside the largest parts that the true
mask has there, and as many, less one, beside it: 1 stroke is positive, 2 are one of each, 8 are four of each, dealt to
the photos in turn. Strokes are straight, the longest of forty random ones that stay on their side, and 1.5 % of the
photo's long side wide. They pass through `halonerf.annotations` as those of the window do.

Each mode of `halonerf.heads.FewShot` is then fitted to them, with the features that `retriever=pyramid` gives of all
photos, and rendered in every other photo whose mask shows the concept (protocol=strict, native size). "snapped" is
"mixed" with strokes that snap to superpixels; "corrected" is "mixed" as a correction of what the packaged segmenter
finds for the word; "word" is that alone; "full masks" are the whole masks of the same photos, lifted (`head=lifted`).
Prints AP and IoU, means over photos, then over choices of annotated photos, concepts and scenes; the seconds from a
stroke to the updated map of one photo; and writes experiments/out/teaching.json.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from scipy import ndimage
from torch.nn.functional import interpolate

from halonerf.annotations import Annotation, annotated_regions
from halonerf.artifacts import MANIFEST
from halonerf.cli import composed
from halonerf.evaluation.ground_truth import GroundTruthMasks
from halonerf.evaluation.protocol import native_map
from halonerf.evaluation.scores import score_map
from halonerf.files import write_json
from halonerf.heads import FewShot, Lifted
from halonerf.lifting import render_known
from halonerf.loading import fitted_scene, open_field
from halonerf.pipeline.plan import StageConfigs
from halonerf.retrievers import Pyramid
from halonerf.segmenters import TimmText
from halonerf.thresholds import decide

OUT = Path(__file__).parent / "out"
MODES = ("place", "similar", "mixed")
METHODS = (*MODES, "snapped", "corrected")
MIN_SHARE = 0.002  # of a photo that a concept covers where it is annotated
TRIALS = 40  # random strokes, of which the longest is drawn
NEAR_PX = 25  # from the mask, at most, of every other negative stroke
RADIUS = 0.0075  # of strokes, in long sides

Mask = NDArray[np.bool_]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path, nargs="+")
    parser.add_argument("--masks", help="folder of masks, <concept>/<photo>.png; none: the collection's")
    parser.add_argument("--strokes", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--photos", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--choices", type=int, default=6, help="of annotated photos; all where they are fewer")
    parser.add_argument("--scored", type=int, default=12, help="photos scored at most, evenly spread")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    seconds: list[float] = []
    for folder in options.scenes:
        bench = Bench(folder, options.masks, options.scored)
        work = [
            (concept, choice)
            for concept, photos in itertools.product(bench.concepts, options.photos)
            for choice in bench.choices(concept, photos, options.choices, options.seed)
        ]
        for concept, choice in track(work, description=folder.name, console=Console(stderr=True)):
            rows += bench.compare(concept, choice, options.strokes, options.seed, seconds)
        print(f"{folder.name}: {len(bench.scene)} photos, {len(rows)} rows", flush=True)
    show(rows, seconds)
    OUT.mkdir(exist_ok=True)
    write_json(OUT / "teaching.json", {"rows": rows, "seconds": seconds})


class Bench:
    """A scene with its field, the features of its elements, and its masks."""

    def __init__(self, root: Path, masks: str | None, scored: int) -> None:
        inputs = {stage: last(root / stage) for stage in ("collect", "ingest", "reconstruct")}
        self.name, self.most_scored = root.name, scored
        self.scene = fitted_scene(inputs)
        self.field = open_field(
            StageConfigs(composed(["stage=reconstruct"]))["reconstruct"]["field"], inputs["reconstruct"]
        )
        truths = GroundTruthMasks.open(self.scene, inputs["collect"], masks)
        if truths is None:
            raise SystemExit(f"expected masks of {root.name}, found none: name their folder with --masks")
        self.truths = truths
        self.head, self.segmenter = FewShot(), TimmText()
        encoder = Pyramid(self.segmenter)
        photos = [self.scene.photo(i).permute(2, 0, 1)[None].float() / 255 for i in range(len(self.scene))]
        maps = [[encoder.embed_dense(photo)[0].half()] for photo in photos]
        weights = [self.scene.valid(i).float() for i in range(len(self.scene))]
        self.head.lift_features(self.field, self.scene.views, maps, weights)
        self.views: dict[str, list[int]] = defaultdict(list)  # by concept, those whose mask shows it
        for view in range(len(self.scene)):
            for concept in truths.concepts(view):
                if self.mask(view, concept).any():
                    self.views[concept].append(view)
        self.concepts = sorted(self.views)

    @cache  # noqa: B019
    @torch.no_grad()
    def word(self, concept: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Probability and confidence of the elements, [E] each, that the packaged segmenter's word gives, lifted."""
        maps, weights = [], []
        for number, view in enumerate(self.scene.views):
            photo = self.scene.photo(number).permute(2, 0, 1)[None].float() / 255
            logits = self.segmenter.decode(self.segmenter.encode(photo), [concept])
            sized = interpolate(logits, size=(view.height, view.width), mode="bilinear", align_corners=False)
            maps.append(sized[0].sigmoid().permute(1, 2, 0))
            weights.append(self.scene.valid(number).float()[..., None])
        lifted = Lifted()
        lifted.fit(self.field, self.scene.views, maps, weights)
        return lifted.probabilities()[:, 0], lifted.confidence()[:, 0]

    @cache  # noqa: B019 - one bench a scene, which the program holds anyway
    def truth(self, view: int, concept: str) -> tuple[Mask, Mask]:
        """A true mask, and the pixels that the photo covers, at native size."""
        truths, covered = self.truths.read(view, [concept])
        return truths[concept], covered

    @cache  # noqa: B019
    def mask(self, view: int, concept: str) -> Mask:
        """A true mask at the view's size."""
        camera = self.scene.views[view]
        native, _ = self.truth(view, concept)
        picture = Image.fromarray(native.astype(np.uint8) * 255)
        return np.asarray(picture.resize((camera.width, camera.height), Image.Resampling.BOX)) >= 128

    def choices(self, concept: str, count: int, most: int, seed: int) -> list[tuple[int, ...]]:
        """Which photos are annotated: all choices of `count` that show enough of the concept, `most` at random."""
        usable = [view for view in self.views[concept] if self.mask(view, concept).mean() >= MIN_SHARE]
        if len(usable) < count or len(self.views[concept]) <= count:
            return []
        every = list(itertools.islice(itertools.combinations(usable, count), 100_000))
        picked = np.random.default_rng(seed).choice(len(every), min(most, len(every)), replace=False)
        return [every[k] for k in sorted(picked)]

    def compare(
        self, concept: str, choice: Sequence[int], strokes: Sequence[int], seed: int, seconds: list[float]
    ) -> list[dict[str, Any]]:
        """One row for each mode and number of strokes on the photos of `choice`, and one for full masks."""
        about = {"scene": self.name, "concept": concept, "photos": len(choice)}
        views = [self.scene.views[view] for view in choice]
        masks = [torch.from_numpy(self.mask(view, concept))[..., None].float() for view in choice]
        lifted = Lifted()
        lifted.fit(self.field, views, masks, [torch.ones_like(mask) for mask in masks])
        found = self.score(concept, choice, lifted.probabilities()[:, 0], lifted.confidence()[:, 0])
        rows = [{**about, "method": "full masks", "strokes": 0, **found}]
        rows.append({**about, "method": "word", "strokes": 0, **self.score(concept, choice, *self.word(concept))})
        for count in strokes:
            annotations = self.annotate(concept, choice, count, seed)
            for method in METHODS:
                self.head.mode = method if method in MODES else "mixed"
                start = time.perf_counter()
                maps, weights = self.annotated(annotations, choice, snap=method == "snapped")
                evidence = self.word(concept)[0][:, None] if method == "corrected" else None
                self.head.fit(self.field, views, maps, weights, evidence)
                probability, confidence = self.head.probabilities()[:, 0], self.head.confidence()[:, 0]
                columns = probability[:, None], confidence[:, None]
                render_known(self.field, views[0], self.field.mean_appearance(), *columns)
                seconds.append(time.perf_counter() - start)
                found = self.score(concept, choice, probability, confidence)
                rows.append({**about, "method": method, "strokes": count, **found})
        return rows

    def annotated(
        self, annotations: Sequence[Annotation], choice: Sequence[int], snap: bool
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """What is annotated as positive, and what at all, [H, W, 1] for each photo."""
        maps, weights = [], []
        for view in choice:
            camera, name = self.scene.views[view], self.scene.names[view]
            changes = {"snap": "superpixels" if snap else "off"}
            entries = [entry.model_copy(update=changes) for entry in annotations if entry.photo == name]
            picture = partial(self.photo, view)
            positive, negative = annotated_regions(entries, camera.width, camera.height, picture)
            maps.append(torch.from_numpy(positive)[..., None].float())
            weights.append(torch.from_numpy(positive | negative)[..., None].float())
        return maps, weights

    def photo(self, view: int) -> NDArray[np.uint8]:
        """A photo at working size, [H, W, 3]."""
        pixels: NDArray[np.uint8] = self.scene.photo(view).numpy()
        return pixels

    def annotate(self, concept: str, choice: Sequence[int], count: int, seed: int) -> list[Annotation]:
        """Simulated strokes, positive and negative in turn, dealt to the photos."""
        chance = np.random.default_rng(seed)
        entries = []
        for number in range(count):
            positive, turn = number % 2 == 0, number // 2
            view = choice[turn % len(choice)]
            points = stroke(self.mask(view, concept), positive, turn // len(choice), chance)
            name = self.scene.names[view]
            entries.append(
                Annotation(concept=concept, photo=name, tool="stroke", points=points, radius=RADIUS, positive=positive)
            )
        return entries

    def score(
        self, concept: str, choice: Sequence[int], probability: torch.Tensor, confidence: torch.Tensor
    ) -> dict[str, float]:
        """Mean AP and IoU over the photos that were not annotated."""
        others = [view for view in self.views[concept] if view not in choice]
        others = others[:: max(1, len(others) // self.most_scored)]
        threshold = decide(probability.numpy(), confidence.numpy()).threshold
        scores = []
        for view in others:
            truth, covered = self.truth(view, concept)
            appearance = self.field.appearance(self.scene.names[view])
            drawn, _ = render_known(
                self.field, self.scene.views[view], appearance, probability[:, None], confidence[:, None]
            )
            native = native_map("strict", drawn[..., 0].numpy(), truth.shape)
            scores.append(score_map(native, truth, covered, threshold))
        return {name: statistics.fmean(float(entry[name] or 0) for entry in scores) for name in ("ap", "iou")}


def stroke(mask: Mask, positive: bool, turn: int, chance: np.random.Generator) -> tuple[tuple[float, float], ...]:
    """Ends of a stroke, in widths and heights, inside a part of the mask (the largest first) or beside it."""
    if positive:
        labels, count = ndimage.label(mask)
        sizes = ndimage.sum(mask, labels, range(1, count + 1))
        order = [k for k in np.argsort(sizes)[::-1] if sizes[k] >= 0.05 * sizes.max()]
        allowed = labels == order[turn % len(order)] + 1
        inner = ndimage.binary_erosion(allowed, iterations=2)
        allowed = inner if inner.sum() >= 8 else allowed
    else:
        allowed = ~ndimage.binary_dilation(mask, iterations=3)
        near = ndimage.binary_dilation(mask, iterations=NEAR_PX) & allowed
        allowed = near if turn % 2 == 0 and near.any() else allowed
    rows, columns = np.nonzero(allowed)
    best, ends = -1.0, (0, 0)
    for first, second in chance.integers(len(rows), size=(TRIALS, 2)):
        length = np.hypot(rows[first] - rows[second], columns[first] - columns[second])
        steps = np.linspace(0, 1, 2 + int(length))
        path = [np.round(a[first] + steps * (a[second] - a[first])).astype(int) for a in (rows, columns)]
        if best < length <= 0.35 * mask.shape[1] and allowed[path[0], path[1]].all():
            best, ends = float(length), (first, second)
    height, width = mask.shape
    return tuple((float((columns[k] + 0.5) / width), float((rows[k] + 0.5) / height)) for k in ends)


def last(folder: Path) -> Path:
    """The latest finished output of a stage."""
    return max((path.parent for path in folder.glob(f"*/{MANIFEST}")), key=lambda path: path.stat().st_mtime)


def show(rows: list[dict[str, Any]], seconds: list[float]) -> None:
    """Print the tables."""
    concepts = sorted({row["concept"] for row in rows})
    for figure in ("ap", "iou"):
        print(f"\n{figure:<32}" + "".join(f"{name:>13}" for name in [*concepts, "mean"]))
        keys = sorted({(row["photos"], row["strokes"], row["method"]) for row in rows})
        for photos, strokes, method in keys:
            cells = []
            for concept in concepts:
                by_scene = defaultdict(list)
                for row in rows:
                    if (row["photos"], row["strokes"], row["method"], row["concept"]) == (
                        photos,
                        strokes,
                        method,
                        concept,
                    ):
                        by_scene[row["scene"]].append(row[figure])
                means = [statistics.fmean(values) for values in by_scene.values()]
                cells.append(statistics.fmean(means) if means else float("nan"))
            label = f"{photos} photos, {method}" + (f", {strokes} strokes" if strokes else "")
            print(f"{label:<32}" + "".join(f"{cell:>13.3f}" for cell in [*cells, float(np.nanmean(cells))]))
    print(
        f"\nstroke to map: median {np.median(seconds):.2f} s, p95 {np.quantile(seconds, 0.95):.2f} s, n {len(seconds)}"
    )


if __name__ == "__main__":
    main()
