"""How fast are the heads, and what do wrong photos do to them?

    python experiments/mlp_paper.py [scene=cathedral scene.seed=503 scene.photos=32 ingest.size=320 ...] [--quick]

On a landmark's finished field and 2D maps, made where they are not there yet. Prints two tables; writes
experiments/out/mlp_paper.json.

Seconds: of lifting all concepts at once (median of three), and of a step of the learnt heads, from which a whole fit
is extrapolated: with the default options, and as the paper has it (7,225 rays, layers 256-256-128-2, 12,500 steps, a
network a concept; here on the landmark's own field, not on the paper's much slower one). mAP: over photos, then
concepts, of the concepts in 3D against the landmark's exact masks, at the working size. Wrong photos: in a share of
the photos all maps are replaced by noise a pixel, by smooth noise, or by another concept's map.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from torch import Tensor

from halonerf.artifacts import MANIFEST
from halonerf.data.collection import Collection
from halonerf.factory import build
from halonerf.masks import MaskFolder
from halonerf.metrics import average_precision
from halonerf.protocols import LearntHead, SemanticHead
from halonerf.stages.localize import Localize

ROOT = Path(__file__).parents[1]
OUT = Path(__file__).parent / "out"
LANDMARK = ["scene=cathedral", "scene.seed=503", "scene.photos=32", "ingest.size=320", "ingest.features=3000",
            "reconstruct.steps=1000"]  # fmt: skip
PAPER = {"widths": [256, 256, 128], "steps": 12500, "learning_rate": 5e-5, "final_lr_fraction": 2e-4, "epochs": 5,
         "window_from": 0.5, "targets": "paper", "normalise": False}  # fmt: skip
LIFTED: dict[str, dict[str, Any]] = {
    "none": {},
    "trimmed": {"robust": "trimmed"},
    "median": {"robust": "median"},
    "consensus": {"robust": "consensus"},
    "consensus, 2.0": {"robust": "consensus", "tolerance": 2.0},
    "refined": {"refinements": 1},
    "smoothed": {"smoothing": 0.3},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", default=LANDMARK, help="of the landmark")
    parser.add_argument("--artifacts", default="artifacts", help="where it is kept")
    parser.add_argument("--wrong", type=float, default=0.3, help="share of photos that are wrong")
    parser.add_argument("--quick", action="store_true", help="no learnt head is fitted to its end")
    options = parser.parse_args()
    landmark = Landmark(made(options.overrides, options.artifacts))
    results: dict[str, Any] = {"photos": len(landmark.views), "elements": landmark.stage.field.elements}
    results |= {"concepts": landmark.stage.concepts, "map_2d": landmark.score_2d(), "wrong_share": options.wrong}
    results["seconds"] = speeds(landmark, 3 if options.quick else 20)
    show_speeds(results)
    results["map_3d"] = robustness(landmark, options.wrong)
    if not options.quick:
        results["map_3d_learnt"] = {name: fitted(landmark, name) for name in ("linear", "mlp")}
        for name, found in results["map_3d_learnt"].items():
            print(f"head={name:<8} mAP {found['map']:.4f} in {found['seconds']:.0f} s")
    OUT.mkdir(exist_ok=True)
    (OUT / "mlp_paper.json").write_text(json.dumps(results, indent=1))


def made(overrides: Sequence[str], artifacts: str) -> dict[str, Path]:
    """Folders of what `localize` reads and of `collect`."""
    folders = {}
    for stage in ("reconstruct", "segment"):
        command = [sys.executable, "-m", "halonerf.cli", f"stage={stage}", *overrides, f"artifacts={artifacts}"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        folders[stage] = Path(done.stdout.strip().splitlines()[-1])
    inputs = json.loads((folders["segment"] / MANIFEST).read_text())["inputs"]
    scene = folders["segment"].parents[1]
    return {**folders, **{stage: scene / stage / inputs[stage] for stage in ("collect", "ingest")}}


class Landmark:
    """A field, the maps that may be lifted into it, and exact masks at the working size."""

    def __init__(self, folders: dict[str, Path]) -> None:
        self.stage = Localize(component("head", "lifted"), component("field", "gaussians"))
        self.stage.bind(Path(tempfile.mkdtemp()), folders, 0)
        self.stage.prepare()
        self.field = self.stage.field
        self.views, self.maps, self.weights = self.stage.supervisions()
        self.segment, scene = folders["segment"], self.stage.scene
        masks = MaskFolder.open(Collection.read(folders["collect"]).masks)
        self.truths: dict[tuple[int, int], np.ndarray] = {}
        for i, name in enumerate(scene.names):
            for k, concept in enumerate(self.stage.concepts):
                if concept in masks.concepts and masks.find(concept, name) is not None:
                    drawn = masks.read(concept, name, scene.native_size(i)).astype(np.uint8) * 255
                    self.truths[i, k] = scene.undistort(i, drawn) >= 128

    def score(self, head: SemanticHead) -> float:
        """mAP in 3D."""
        light = self.field.mean_appearance()
        return self._mean_ap(lambda i: head.render(self.field, self.stage.scene.views[i], light)[0].numpy())

    def score_2d(self) -> float:
        """mAP of the maps of all photos."""

        def stored(i: int) -> np.ndarray:
            with np.load(self.segment / "maps" / f"{i:05d}.npz") as arrays:
                return arrays["probability"].transpose(1, 2, 0) / 255.0

        return self._mean_ap(stored)

    @torch.no_grad()
    def _mean_ap(self, probability: Callable[[int], np.ndarray]) -> float:
        found: dict[int, list[float]] = {}
        for i in sorted({i for i, _ in self.truths}):
            levels = (probability(i) * 65535).round().astype(np.uint16)
            for k in (k for j, k in self.truths if j == i):
                ap = average_precision(levels[..., k], self.truths[i, k], self.stage.scene.valid(i).numpy())
                if not np.isnan(ap):
                    found.setdefault(k, []).append(ap)
        return float(np.mean([np.mean(scores) for scores in found.values()]))


def component(group: str, name: str, **changes: Any) -> dict[str, Any]:
    """A component's config with seed 0."""
    config: Any = OmegaConf.to_container(OmegaConf.load(ROOT / "conf" / group / f"{name}.yaml"))
    return {**config, **({"seed": 0} if "seed" in config else {}), **changes}


def speeds(landmark: Landmark, steps: int) -> dict[str, float]:
    """Seconds of lifting all concepts, and of steps of heads."""
    found = {}
    for name in ("none", "median", "consensus"):
        head = build(component("head", "lifted", **LIFTED[name]))
        head.fit(landmark.field, landmark.views[:1], landmark.maps[:1], landmark.weights[:1])  # compiles
        found[f"lifted_{name}"] = float(np.median([fit_seconds(landmark, head) for _ in range(3)]))
    heads = {
        "linear": component("head", "linear"),
        "mlp": component("head", "mlp"),
        "paper_together": component("head", "mlp", **PAPER),
        "paper": component("head", "mlp", **PAPER, together=False),
    }
    for name, config in heads.items():
        warm = build({**config, "steps": 2})
        warm.fit(landmark.field, landmark.views, landmark.maps, landmark.weights)
        head: LearntHead = build({**config, "steps": steps})
        head.start(landmark.field, landmark.views, landmark.maps, landmark.weights)
        started = time.perf_counter()
        for number in range(head.rounds):
            head.fit_round(number)
        found[f"{name}_step"] = (time.perf_counter() - started) / steps
        found[f"{name}_fit"] = found[f"{name}_step"] * config["steps"]
    return found


def fit_seconds(landmark: Landmark, head: SemanticHead) -> float:
    started = time.perf_counter()
    head.fit(landmark.field, landmark.views, landmark.maps, landmark.weights)
    return time.perf_counter() - started


def show_speeds(results: dict[str, Any]) -> None:
    seconds = results["seconds"]
    print(f"{results['photos']} photos, {results['elements']} elements, {len(results['concepts'])} concepts")
    for name in ("none", "median", "consensus"):
        print(f"lifted, robust={name:<8} {seconds[f'lifted_{name}']:9.2f} s")
    for name in ("linear", "mlp", "paper_together", "paper"):
        ratio = seconds[f"{name}_fit"] / seconds["lifted_none"]
        step, whole = seconds[f"{name}_step"], seconds[f"{name}_fit"]
        print(f"{name:<16} {step:9.4f} s a step {whole:10.0f} s a fit (extrapolated), {ratio:7.0f} x lifted")


def robustness(landmark: Landmark, share: float) -> dict[str, dict[str, float]]:
    """mAP of each kind of lifting, from clean maps and with a share of the photos wrong."""
    wrongs = {"clean": None, "noise": noise, "smooth noise": smooth_noise, "other concept": other_concept}
    print(f"\n{'mAP in 3D':<18}" + "".join(f"{name:>15}" for name in wrongs) + "     worst fall")
    table: dict[str, dict[str, float]] = {}
    for name, options in LIFTED.items():
        row = {}
        for kind, spoil in wrongs.items():
            head = build(component("head", "lifted", **options))
            maps = landmark.maps if spoil is None else spoilt(landmark.maps, share, spoil)
            head.fit(landmark.field, landmark.views, maps, landmark.weights)
            row[kind] = landmark.score(head)
        cells = "".join(f"{value:>15.4f}" for value in row.values())
        print(f"{name:<18}{cells}     {row['clean'] - min(row.values()):.4f}", flush=True)
        table[name] = row
    return table


def spoilt(maps: Sequence[Tensor], share: float, spoil: Callable[[Tensor, torch.Generator], Tensor]) -> list[Tensor]:
    """The maps, a share of them replaced; which ones is the same for every kind."""
    order = torch.randperm(len(maps), generator=torch.Generator().manual_seed(0))
    chosen = set(order[: round(share * len(maps))].tolist())
    return [spoil(m, torch.Generator().manual_seed(i)) if i in chosen else m for i, m in enumerate(maps)]


def noise(given: Tensor, chance: torch.Generator) -> Tensor:
    return torch.rand(given.shape, generator=chance)


def smooth_noise(given: Tensor, chance: torch.Generator) -> Tensor:
    """Blots of an eighth of the photo, from 0 to 1."""
    height, width, count = given.shape
    coarse = torch.rand(1, count, 9, 9, generator=chance)
    fine = F.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)[0]
    low, high = fine.amin(dim=(1, 2), keepdim=True), fine.amax(dim=(1, 2), keepdim=True)
    return ((fine - low) / (high - low)).permute(1, 2, 0)


def other_concept(given: Tensor, chance: torch.Generator) -> Tensor:
    """Every concept gets the map of another, the next but a few."""
    shift = 1 + int(torch.randint(max(given.shape[2] - 1, 1), (), generator=chance))
    return given.roll(shift, dims=2)


def fitted(landmark: Landmark, name: str) -> dict[str, float]:
    """A learnt head with its default options."""
    head = build(component("head", name))
    seconds = fit_seconds(landmark, head)
    return {"map": landmark.score(head), "seconds": seconds}


if __name__ == "__main__":
    main()
