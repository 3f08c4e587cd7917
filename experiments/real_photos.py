"""Do masks drawn on some real photos find the parts in the others? Every way to halve the photos that have masks.

    python experiments/real_photos.py [--data DIR] [--artifacts artifacts] [--refinements 0 3]
        [--half 3] [--limit 252] [-- reconstruct.steps=2000 …]

`--data` holds `photos` and `masks/<concept>/<photo>.png`. Photos are registered and a field is fitted once, to all
photos; neither reads a mask. Then, for every choice of `--half` of the photos with masks, their masks are lifted as
`segmenter=masks` gives them, and the maps are rendered in the others and scored by protocol=strict at native size. A
photo that is scored has said nothing of any concept; its colours the field knows. All choices where they are at most
`--limit`, else as many at random (seed 0).

Prints a table: mean and standard deviation over the choices of each choice's mean over its scored photos. "nothing" is
what 2D has to say about a photo that nobody drew on: a constant map. Choices overlap, so the deviation says
how much the choice matters, not how sure the mean is. Writes experiments/out/real_photos.json and .png.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from torch.nn.functional import interpolate

from halonerf.cli import composed, run
from halonerf.evaluation.examples import example_strip, stack_strips
from halonerf.evaluation.ground_truth import GroundTruthMasks
from halonerf.evaluation.protocol import native_map
from halonerf.evaluation.scores import score_map
from halonerf.factory import build
from halonerf.heads.lifted import Lifted
from halonerf.loading import fitted_scene
from halonerf.masks import MaskFolder
from halonerf.pipeline.plan import StageConfigs
from halonerf.thresholds import decide
from halonerf.visualization.pictures import save_picture

ROOT = Path(__file__).parents[1]
OUT = Path(__file__).parent / "out"
SHARED = Path(os.environ.get("HALONERF_SHARED", ROOT.parent / "shared")) / "data"
FIGURES = ("ap", "iou", "soft_balanced_accuracy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED / "sacre_coeur")
    parser.add_argument("--artifacts", default="artifacts")
    parser.add_argument("--refinements", type=int, nargs="+", default=[0, 3])
    parser.add_argument("--half", type=int, default=0, help="photos lifted; 0: half of those with masks")
    parser.add_argument("--limit", type=int, default=252)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    if not (options.data / "masks").is_dir():
        print(f"real_photos: skipped, for there are no photos and masks in {options.data}; name them with --data DIR")
        return
    bench = Bench(options.data, options.artifacts, options.overrides)
    choices = halves(len(bench.views), options.half or len(bench.views) // 2, options.limit)
    print(f"{bench.scene.name}: {len(bench.scene)} photos, {len(bench.views)} with masks, {len(choices)} choices")
    results: dict[str, Any] = {"nothing": table([bench.nothing(choice) for choice in choices], bench.concepts)}
    for refinements in options.refinements:
        start = time.perf_counter()
        scored = [bench.score(choice, refinements) for choice in choices]
        results[f"3D, refinements={refinements}"] = table(scored, bench.concepts)
        print(f"refinements={refinements}: {time.perf_counter() - start:.0f} s")
    show(results, bench.concepts)
    OUT.mkdir(exist_ok=True)
    facts = {
        "photos": len(bench.scene),
        "masked": len(bench.views),
        "lifted": [[bench.scene.names[bench.views[i]] for i in choice] for choice in choices],
        "field": bench.field_options,
    }
    (OUT / "real_photos.json").write_text(json.dumps({**facts, "results": results}, indent=2) + "\n")
    save_picture(OUT / "real_photos.png", bench.picture(choices[0], options.refinements[-1]))


def halves(count: int, half: int, limit: int) -> list[tuple[int, ...]]:
    """Which are lifted, of `count`."""
    every = list(itertools.combinations(range(count), half))
    if len(every) <= limit:
        return every
    return [every[i] for i in np.random.default_rng(0).choice(len(every), limit, replace=False)]


class Bench:
    """The fitted field and the masks of its scene."""

    def __init__(self, data: Path, artifacts: str, overrides: list[str]) -> None:
        asked = ["stage=reconstruct", "scene=photos", f"scene.path={(data / 'photos').resolve()}"]
        config = composed([*asked, f"artifacts={artifacts}", *overrides])
        folder = Path(run(config))
        inputs = json.loads((folder / "manifest.json").read_text())["inputs"]
        ingest = folder.parents[1] / "ingest" / inputs["ingest"]
        self.scene = fitted_scene({"ingest": ingest, "reconstruct": folder})
        self.field_options = OmegaConf.to_container(config.field)
        self.field = build(StageConfigs(config)["reconstruct"]["field"])
        self.field.load(folder / "field.safetensors")
        self.masks = MaskFolder.open(data / "masks")
        self.concepts = self.masks.concepts
        self.views = [i for i, n in enumerate(self.scene.names) if any(self.masks.find(c, n) for c in self.concepts)]
        self.truths = {view: self._truths(view) for view in self.views}
        self.drawn = {view: self._drawn(view) for view in self.views}

    def score(self, choice: tuple[int, ...], refinements: int) -> list[dict[str, Any]]:
        """One row a scored photo and concept, after lifting the photos of `choice`."""
        rows = []
        for view, maps in self.maps(choice, refinements).items():
            truths, covered = self.truths[view]
            for concept, truth in truths.items():
                place = self.concepts.index(concept)
                drawn = native_map("strict", maps[place], truth.shape)
                rows.append({"concept": concept, **score_map(drawn, truth, covered, self.limits[place])})
        return rows

    def nothing(self, choice: tuple[int, ...]) -> list[dict[str, Any]]:
        """The same rows for a map that is zero everywhere."""
        rows = []
        for view in self.others(choice):
            truths, covered = self.truths[view]
            for concept, truth in truths.items():
                rows.append({"concept": concept, **score_map(np.zeros(truth.shape, np.float32), truth, covered)})
        return rows

    def maps(self, choice: tuple[int, ...], refinements: int) -> dict[int, np.ndarray]:
        """Probabilities [P, H, W] at working size, in 8 bits as `localize` leaves them, of the photos not chosen.

        `limits` is set to the threshold of each concept, from what was lifted.
        """
        head = Lifted(refinements=refinements)
        chosen = [self.views[i] for i in choice]
        maps, weights = zip(*(self.drawn[view] for view in chosen), strict=True)
        head.fit(self.field, [self.scene.views[view] for view in chosen], maps, weights)
        columns = zip(head.probabilities().T.numpy(), head.confidence().T.numpy(), strict=True)
        self.limits = [decide(*column).threshold for column in columns]
        found = {}
        for view in self.others(choice):
            code = self.field.appearance(self.scene.names[view])
            probability, _ = head.render(self.field, self.scene.views[view], code)
            found[view] = ((probability * 255).round() / 255).permute(2, 0, 1).numpy()
        return found

    def others(self, choice: tuple[int, ...]) -> list[int]:
        return [view for i, view in enumerate(self.views) if i not in choice]

    def picture(self, choice: tuple[int, ...], refinements: int) -> np.ndarray:
        """Each concept in each scored photo of one choice."""
        maps = self.maps(choice, refinements)
        strips = []
        for index, concept in enumerate(self.concepts):
            for view in maps:
                truth = self.truths[view][0].get(concept)
                if truth is None:
                    continue
                drawn = {"2d": None, "3d": maps[view][index]}
                native = native_map("strict", maps[view][index], truth.shape)
                scored = score_map(native, truth, self.truths[view][1], self.limits[index])
                title = f"{concept}, {self.scene.names[view]}, AP {scored['ap']:.3f}, IoU {scored['iou']:.3f}"
                strips.append((title, example_strip(self.scene, view, self._seen(view), truth, drawn, segmented=False)))
        return stack_strips(strips)

    def _seen(self, view: int) -> np.ndarray:
        with torch.no_grad():
            seen = self.field.render(self.scene.views[view], self.field.appearance(self.scene.names[view])).colour
        return (seen.clamp(0, 1) * 255).round().byte().numpy()

    def _truths(self, view: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        name = self.scene.names[view]
        return GroundTruthMasks(self.scene, self.masks).read(
            view, [c for c in self.concepts if self.masks.find(c, name)]
        )

    def _drawn(self, view: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Masks and weights [H, W, P] as `segment` and `localize` make them; a concept nobody drew weighs nothing."""
        name, size = self.scene.names[view], (self.scene.views[view].height, self.scene.views[view].width)
        maps, weights = torch.zeros(len(self.concepts), *size), torch.zeros(len(self.concepts), *size)
        for index, concept in enumerate(self.concepts):
            if self.masks.find(concept, name):
                drawing = self.masks.read(concept, name, self.scene.native_size(view)).astype(np.float32)
                placed = torch.from_numpy(self.scene.undistort(view, drawing))
                maps[index] = (interpolate(placed[None, None], size)[0, 0] * 255).round() / 255
                weights[index] = self.scene.valid(view)
        return maps.permute(1, 2, 0), weights.permute(1, 2, 0)


def table(choices: list[list[dict[str, Any]]], concepts: list[str]) -> dict[str, Any]:
    """Mean and deviation over choices of the mean over scored photos, by concept; and of the concepts' mean."""
    found: dict[str, Any] = {}
    for figure in FIGURES:
        means = [
            [
                statistics.fmean(row[figure] for row in rows if row["concept"] == c and row[figure] is not None)
                for c in concepts
            ]
            for rows in choices
        ]
        columns = [*zip(*means, strict=True), [statistics.fmean(row) for row in means]]
        found[figure] = {
            name: {"mean": statistics.fmean(values), "sd": statistics.pstdev(values), "each": list(values)}
            for name, values in zip([*concepts, "mean"], columns, strict=True)
        }
    return found


def show(results: dict[str, Any], concepts: list[str]) -> None:
    """Print the tables."""
    for figure in FIGURES:
        print(f"\n{figure:<22}" + "".join(f"{name:>16}" for name in [*concepts, "mean"]))
        for name, found in results.items():
            cells = [found[figure][c] for c in [*concepts, "mean"]]
            print(f"{name:<22}" + "".join(f"{cell['mean']:>9.3f} ± {cell['sd']:.3f}" for cell in cells))


if __name__ == "__main__":
    main()
