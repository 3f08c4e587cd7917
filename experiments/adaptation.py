"""Does adaptation help, and do the pairs? Runs of `adapt_segmenter` side by side, over seeds.

    halonerf -m +experiments=adaptation adapt_segmenter.losses.warped=0,1 seed=0,1,2
    python experiments/adaptation.py [--artifacts artifacts]

Runs that differ in nothing but their seed are one row: mean and standard deviation over seeds of the mean average
precision (over concepts, then landmarks). A second table has every landmark and concept. Writes
experiments/out/adaptation.json.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from halonerf.artifacts import MANIFEST

OUT = Path(__file__).parent / "out"
Run = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifacts", default="artifacts", help="where the runs are kept")
    options = parser.parse_args()
    runs = [read(path.parent) for path in sorted(Path(options.artifacts).glob(f"*/adapt_segmenter/*/{MANIFEST}"))]
    runs = [run for run in runs if run["scores"]]
    if not runs:
        print(f"no finished run with test landmarks in {options.artifacts}; the commands are in this file's head")
        return
    groups = gathered(runs)
    means = [summary(name, found) for name, found in groups.items()]
    width = max(len(row["run"]) for row in means)
    print(f"{'run':<{width}} {'seeds':>5}   mAP base          mAP adapted       small base        small adapted")
    for row in means:
        cells = "   ".join(f"{row[k][0]:.4f} ± {row[k][1]:.4f}" for k in FIGURES)
        print(f"{row['run']:<{width}} {row['seeds']:>5}   {cells}")
    table = detail(groups)
    print("\nAP, mean over seeds\n" + "\n".join(table))
    OUT.mkdir(exist_ok=True)
    (OUT / "adaptation.json").write_text(json.dumps({"means": means, "runs": runs}, indent=1))


FIGURES = ("base_ap", "adapted_ap", "base_ap_small", "adapted_ap_small")


def read(folder: Path) -> Run:
    """Options, seed and scores of a finished run."""
    manifest = json.loads((folder / MANIFEST).read_text())
    with open(folder / "scores.csv", newline="") as stream:
        scores = list(csv.DictReader(stream))
    return {"config": manifest["config"], "seed": manifest["seed"], "summary": manifest["summary"], "scores": scores}


def gathered(runs: list[Run]) -> dict[str, list[Run]]:
    """Runs by what tells them apart but the seed: the options that are not the same in all."""
    flat = [flattened(run["config"]) for run in runs]
    keys = sorted({key for entry in flat for key in entry if any(e.get(key) != entry[key] for e in flat)})
    groups: dict[str, list[Run]] = {}
    for run, entry in zip(runs, flat, strict=True):
        name = ", ".join(f"{key}={entry.get(key)}" for key in keys) or "all alike"
        groups.setdefault(name, []).append(run)
    return groups


def flattened(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {k: v for key, entry in value.items() for k, v in flattened(entry, f"{prefix}{key}.").items()}
    return {prefix.rstrip("."): value if not isinstance(value, list) else tuple(value)}


def summary(name: str, runs: list[Run]) -> dict[str, Any]:
    """Mean and standard deviation (n - 1) of each figure over the seeds."""
    values = {figure: [run["summary"][figure] for run in runs] for figure in FIGURES}
    spread = {
        figure: (float(np.mean(found)), float(np.std(found, ddof=1)) if len(found) > 1 else 0.0)
        for figure, found in values.items()
    }
    return {"run": name, "seeds": len(runs), **spread}


def detail(groups: dict[str, list[Run]]) -> list[str]:
    """A line for each landmark and concept: base, then every group."""
    first = next(iter(groups.values()))[0]
    lines = [
        f"{'landmark':<20} {'concept':<12} {'base':>7} " + " ".join(f"{f'({i + 1})':>7}" for i in range(len(groups)))
    ]
    lines += [f"({i + 1}) {name}" for i, name in enumerate(groups)]
    for row in first["scores"]:
        if row["method"] == "base":
            place = (row["landmark"], row["concept"])
            means = [np.mean([value(run, "adapted", *place) for run in runs]) for runs in groups.values()]
            lines.append(
                f"{place[0]:<20} {place[1]:<12} {float(row['ap']):7.3f} " + " ".join(f"{mean:7.3f}" for mean in means)
            )
    return lines


def value(run: Run, method: str, landmark: str, concept: str) -> float:
    """One cell of a run's scores."""
    keys = {"method": method, "landmark": landmark, "concept": concept}
    return next(float(row["ap"]) for row in run["scores"] if all(row[k] == v for k, v in keys.items()))


if __name__ == "__main__":
    main()
