"""Which photo to annotate next? The proposal of the window against a random photo, and against the same photo again.

    python experiments/next_photo.py SCENE [SCENE …] [--masks DIR] [--rounds 8] [--draws 3]

SCENE as in experiments/teaching.py. Every second photo that shows a concept is scored and never annotated. A simulated
user starts with the photo of the others that shows most of the concept and draws one stroke on it and one beside it.
Then, in each round, the user goes to another photo and draws two strokes there that correct what is shown: inside the
largest missed region and inside the largest wrong one. The next photo is

    proposed  the one in which most is undecided (`halonerf.queries.teaching.undecided_share`);
    random    any (mean of several draws);
    same      the first photo, again and again.

Prints the mean IoU over scored photos after each round, at the concept's own threshold, then over concepts and scenes;
how many concepts reach an IoU of 0.7, and after how many strokes. Writes experiments/out/next_photo.json.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from scipy import ndimage

from halonerf.annotations import Annotation, annotated_regions
from halonerf.files import write_json
from halonerf.lifting import render_known
from halonerf.page.words import view_visibility
from halonerf.queries.teaching import undecided_share
from halonerf.thresholds import decide
from teaching import OUT, RADIUS, Bench, Mask, stroke

POLICIES = ("proposed", "random", "same")
ENOUGH = 0.7  # IoU
MIN_REGION_PX = 12  # smaller errors are not corrected


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path, nargs="+")
    parser.add_argument("--masks", help="folder of masks, <concept>/<photo>.png; none: the collection's")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--draws", type=int, default=3, help="of random photos")
    parser.add_argument("--scored", type=int, default=8, help="photos scored at most")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for folder in options.scenes:
        user = User(Bench(folder, options.masks, options.scored))
        runs = [
            (concept, policy, draw)
            for concept in user.bench.concepts
            for policy in POLICIES
            for draw in range(options.draws if policy == "random" else 1)
        ]
        for run in track(runs, description=folder.name, console=Console(stderr=True)):
            rows += user.annotate(*run, options.rounds)
    show(rows)
    OUT.mkdir(exist_ok=True)
    write_json(OUT / "next_photo.json", rows)


class Found(NamedTuple):
    """Probability and confidence of the elements, [E] each, and the threshold."""

    probability: torch.Tensor
    confidence: torch.Tensor
    threshold: float


class User:
    """A simulated user of one scene."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.share = view_visibility(bench.field, bench.scene.views)

    def annotate(self, concept: str, policy: str, draw: int, rounds: int) -> list[dict[str, Any]]:
        """One row for each round: strokes drawn so far, mean IoU over the scored photos. Empty with too few photos."""
        bench, chance = self.bench, np.random.default_rng(draw)
        shown = bench.views[concept]
        scored = shown[1::2][: bench.most_scored]
        known = [view for view in range(len(bench.scene)) if bench.truths.concepts(view)]  # what it does not show, too
        free = [view for view in known if view not in shown[1::2]]
        if not scored or not shown:
            return []
        photo = max(shown[::2], key=lambda view: bench.mask(view, concept).mean())
        first, used = photo, [photo]
        mask = bench.mask(photo, concept)
        entries = [self.entry(concept, photo, stroke(mask, sign, 0, chance), sign) for sign in (True, False)]
        rows = []
        for number in range(rounds):
            found = self.fit(entries)
            others = [view for view in shown if view not in scored]
            iou = bench.score(concept, others, found.probability, found.confidence)["iou"]
            about = {"scene": bench.name, "concept": concept, "policy": policy, "draw": draw, "round": number}
            rows.append({**about, "strokes": len(entries), "iou": iou})
            left = [view for view in free if view not in used]
            photo = first
            if left and policy == "random":
                photo = int(chance.choice(left))
            elif left and policy == "proposed":
                amount = undecided_share(*found, self.share)
                photo = max(left, key=lambda view: float(amount[view]))
            used.append(photo)
            entries += self.corrections(concept, photo, found, chance)
        return rows

    def entry(self, concept: str, view: int, points: tuple[tuple[float, float], ...], positive: bool) -> Annotation:
        name = self.bench.scene.names[view]
        return Annotation(
            concept=concept, photo=name, tool="stroke", points=points, radius=RADIUS, positive=positive, snap=False
        )

    def fit(self, entries: list[Annotation]) -> Found:
        """What the annotations teach."""
        bench = self.bench
        names = list(dict.fromkeys(entry.photo for entry in entries))
        views = [bench.scene.views[bench.scene.index(name)] for name in names if name is not None]
        regions = [
            annotated_regions([entry for entry in entries if entry.photo == name], view.width, view.height)
            for name, view in zip(names, views, strict=True)
        ]
        maps = [torch.from_numpy(positive)[..., None].float() for positive, _ in regions]
        weights = [torch.from_numpy(positive | negative)[..., None].float() for positive, negative in regions]
        bench.head.fit(bench.field, views, maps, weights)
        probability, confidence = bench.head.probabilities()[:, 0], bench.head.confidence()[:, 0]
        return Found(probability, confidence, decide(probability.numpy(), confidence.numpy()).threshold)

    def corrections(self, concept: str, view: int, shown: Found, chance: np.random.Generator) -> list[Annotation]:
        """A stroke inside the largest missed region of a photo, and one inside the largest wrong one."""
        bench = self.bench
        appearance = bench.field.appearance(bench.scene.names[view])
        columns = shown.probability[:, None], shown.confidence[:, None]
        drawn, _ = render_known(bench.field, bench.scene.views[view], appearance, *columns)
        marked = drawn[..., 0].numpy() >= shown.threshold
        absent = view not in bench.views[concept]
        truth = np.zeros(marked.shape, bool) if absent else bench.mask(view, concept)
        found = []
        for wrong, positive in ((truth & ~marked, True), (marked & ~truth, False)):
            region = largest(wrong)
            if region.sum() >= MIN_REGION_PX:
                found.append(self.entry(concept, view, stroke(region, True, 0, chance), positive))
        return found


def largest(mask: Mask) -> Mask:
    """The largest connected region of a mask."""
    labels, count = ndimage.label(mask)
    if not count:
        return mask
    sizes = ndimage.sum(mask, labels, range(1, count + 1))
    region: Mask = labels == int(np.argmax(sizes)) + 1
    return region


def show(rows: list[dict[str, Any]]) -> None:
    """Print the tables."""
    last = max(row["round"] for row in rows)
    print(f"{'IoU after round':<18}" + "".join(f"{number + 1:>8}" for number in range(last + 1)))
    for policy in POLICIES:
        cells = []
        for number in range(last + 1):
            found = defaultdict(list)
            for row in rows:
                if (row["policy"], row["round"]) == (policy, number):
                    found[row["scene"], row["concept"]].append(row["iou"])
            cells.append(statistics.fmean(statistics.fmean(values) for values in found.values()))
        print(f"{policy:<18}" + "".join(f"{cell:>8.3f}" for cell in cells))
    print(f"\n{'policy':<18}{'runs':>6}{f'reach {ENOUGH}':>12}{'strokes (median)':>18}")
    for policy in POLICIES:
        needed = []
        runs = {(row["scene"], row["concept"], row["draw"]) for row in rows if row["policy"] == policy}
        for run in runs:
            reached = [
                row["strokes"]
                for row in rows
                if row["policy"] == policy
                and (row["scene"], row["concept"], row["draw"]) == run
                and row["iou"] >= ENOUGH
            ]
            needed += [min(reached)] if reached else []
        middle = f"{statistics.median(needed):.0f}" if needed else "-"
        print(f"{policy:<18}{len(runs):>6}{len(needed):>12}{middle:>18}")


if __name__ == "__main__":
    main()
