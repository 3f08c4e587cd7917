"""What do distillers read from the same records? One table of all finished runs of `distill` on a corpus.

    halonerf -m stage=distill corpus=... distiller=rules,mine,other --config-dir DIR
    python experiments/distillers.py [--artifacts artifacts] [--corpus NAME]

DIR/distiller/mine.yaml is a preset of one's own, such as `defaults: [hf_generate, _self_]` and `weights: FOLDER`.
A row is a run: records with a label; micro-F1 against weak labels, where the corpus has any, by the readings of
`halonerf.stages.distill.scoring.WeakScores`; records a second while it ran; and the share of records for which it says
the same as each other run, "" being an answer, too. A record's answer is its most confident label.
Prints the table; writes experiments/out/distillers.json.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from halonerf.artifacts import MANIFEST
from halonerf.data.labels.table import best_labels, read_labels
from halonerf.stages.distill.scoring import LEVELS

OUT = Path(__file__).parent / "out"
Run = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"), help="where the runs are kept")
    parser.add_argument("--corpus", default="*", help="the folder below it; needed where several corpora were read")
    options = parser.parse_args()
    runs = finished(options.artifacts, options.corpus)
    corpora = sorted({run["corpus"] for run in runs})
    if not runs or len(corpora) > 1:
        kept = f"runs on {', '.join(corpora)}: choose one with --corpus NAME" if runs else "no finished run of distill"
        print(f"{options.artifacts} has {kept}; the commands are in this file's head")
        return
    print(table(runs))
    OUT.mkdir(exist_ok=True)
    found = [{**{k: v for k, v in run.items() if k != "labels"}, "same": same(run, runs)} for run in runs]
    (OUT / "distillers.json").write_text(json.dumps(found, indent=1) + "\n")


def finished(artifacts: Path, corpus: str = "*") -> list[Run]:
    """Every finished run on a corpus, with a name that tells it from the others."""
    runs = [read(path.parent) for path in sorted(artifacts.glob(f"{corpus}/distill/*/{MANIFEST}"))]
    names = Counter(run["name"] for run in runs)
    for run in runs:
        run["name"] += f" {run['key'][:6]}" if names[run["name"]] > 1 else ""
    return runs


def read(folder: Path) -> Run:
    """Name, figures and labels by record of a run."""
    manifest = json.loads((folder / MANIFEST).read_text())
    options, summary = manifest["config"]["distiller"], manifest["summary"]
    model = Path(str(options.get("weights") or options.get("model") or "")).name
    return {
        "name": " ".join(filter(None, (str(options["_target_"]).split(".")[-1], model))),
        "corpus": folder.parents[1].name,
        "key": folder.name,
        "options": options,
        "records": summary["records"],
        "labelled": summary["labelled"],
        "records_per_s": summary["records_per_s"],
        "micro_f1": {level: summary.get(f"micro_f1_{level}") for level in LEVELS},
        "failures": summary.get("failures", {}),
        "labels": best_labels(read_labels(folder / "labels.csv")),
    }


def same(run: Run, runs: Sequence[Run]) -> dict[str, float]:
    """Share of records, of those that both read, for which `run` says what each run says."""
    return {other["name"]: agreement(run["labels"], other["labels"]) for other in runs}


def agreement(one: Mapping[str, str], other: Mapping[str, str]) -> float:
    both = one.keys() & other.keys()
    return sum(one[image_id] == other[image_id] for image_id in both) / len(both) if both else 0.0


def table(runs: Sequence[Run]) -> str:
    """One line a run, in columns."""
    letters = [chr(ord("A") + place % 26) for place in range(len(runs))]
    lines = [["", "distiller", "records", "labelled", *LEVELS, "records/s", "failed", *(f"= {x}" for x in letters)]]
    for letter, run in zip(letters, runs, strict=True):
        scores = [_share(run["micro_f1"][level]) for level in LEVELS]
        agreements = [_share(value) for value in same(run, runs).values()]
        failed = str(sum(run["failures"].values()))
        counts = [f"{run['records']:,}", f"{run['labelled']:,}"]
        lines.append([letter, run["name"], *counts, *scores, f"{run['records_per_s']:,.1f}", failed, *agreements])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            c.ljust(w) if place < 2 else c.rjust(w) for place, (c, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()
