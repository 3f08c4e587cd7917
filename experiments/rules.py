"""How well do the rules agree with real weak labels, how fast are they, how much memory and what kills does a run take?

    python experiments/rules.py FOLDER [--labels 1 3] [--speed] [--memory 10000 100000 1000000] [--kills 20]

FOLDER holds the text files of WikiScenes. Agreement is always printed, for the landmarks with even numbers, on which
the vocabulary was mended, for those with odd ones, and for all; what found, wrong, missed and chance mean says
`halonerf.stages.distill.scoring.WeakScores`. The same figures for all are in `metrics.json` and `labels.html` of
`halonerf stage=distill corpus=wikiscenes_text corpus.path=FOLDER distiller.labels=N`.

--speed: records a second of one process with one thread, in processor seconds, each pass with empty caches; the best
and the median of the passes, since other work on the machine slows caches and clocks.
--memory: peak of the whole command for so many records, the real ones repeated under other names.
--kills: a run of 50,000 records in processes that are killed (SIGKILL) at random moments of the work, each gone on with
by the next; then its table is compared with that of an unbroken run.
Prints tables; writes experiments/out/rules.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from typing import Any

OUT = Path(__file__).parent / "out"
PASSES = 9
RECORDS, BATCH = 50_000, 256  # of the run that is killed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--labels", type=int, nargs="+", default=[1, 3], help="labels a record, at most")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--memory", type=int, nargs="*", default=[])
    parser.add_argument("--kills", type=int, default=0)
    options = parser.parse_args()
    OUT.mkdir(exist_ok=True)
    path = OUT / "rules.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    found["agreement"] = {str(count): agreement(options.folder, count) for count in options.labels}
    if options.speed:
        found["speed"] = speed(options.folder)
    with tempfile.TemporaryDirectory() as work:
        if options.memory:
            found["memory"] = {str(count): memory(options.folder, count, Path(work)) for count in options.memory}
        if options.kills:
            found["kills"] = kills(options.folder, options.kills, Path(work))
    path.write_text(json.dumps(found, indent=2) + "\n")


def agreement(folder: Path, count: int) -> dict[str, Any]:
    """Figures of the rules with at most `count` labels a record, by half of the landmarks and for all."""
    from halonerf.data.corpora.wikiscenes_text import WikiScenesText
    from halonerf.distillers.rules import Rules
    from halonerf.stages.distill.scoring import WeakScores

    corpus, rules = WikiScenesText(str(folder)), Rules(labels=count)
    classes = {label for labels in corpus.weak_labels() for label in labels}
    scores = {half: WeakScores(classes, rules.broader, rules.wholes) for half in ("even", "odd", "all")}
    for record, weak in zip(corpus.records(), corpus.weak_labels(), strict=True):
        landmark = re.search(r"/(\d+)/", record.image_id)
        labels = rules.distill([record])
        scores["odd" if landmark and int(landmark[1]) % 2 else "even"].add(labels, weak)
        scores["all"].add(labels, weak)
    found = {half: score.result() for half, score in scores.items()}
    print(f"\nat most {count} label(s) a record")
    print(f"{'landmarks':<10}{'records':>8}  {'reading':<7}{'precision':>10}{'recall':>8}{'micro-F1':>9}{'chance':>8}")
    for half, result in found.items():
        for level, row in result["any_of"].items():
            figures = f"{row['precision']:>10.3f}{row['recall']:>8.3f}{row['micro_f1']:>9.3f}{row['chance']:>8.3f}"
            print(f"{half:<10}{result['records']:>8}  {level:<7}{figures}")
    print(
        f"\n{'class':<10}{'weak':>6}{'labelled':>9}{'precision':>10}{'recall':>8}  best label where this is a weak one"
    )
    for name, row in found["all"]["classes"].items():
        answers = ", ".join(f"{answer} {n}" for answer, n in list(found["all"]["matrix"][name].items())[:6])
        print(
            f"{name:<10}{row['weak']:>6}{row['predicted']:>9}{row['precision']:>10.3f}{row['recall']:>8.3f}  {answers}"
        )
    return found


def speed(folder: Path) -> dict[str, Any]:
    """Records a second of `Rules.distill` in batches as the stage has them."""
    from halonerf.data.corpora.wikiscenes_text import WikiScenesText
    from halonerf.distillers.rules import Rules

    records = list(WikiScenesText(str(folder)).records())
    rates = []
    for _ in range(PASSES):
        rules = Rules()
        started = time.process_time()
        for first in range(0, len(records), BATCH):
            rules.distill(records[first : first + BATCH])
        rates.append(len(records) / (time.process_time() - started))
    result = {"records": len(records), "best": round(max(rates)), "median": round(statistics.median(rates))}
    result["load"] = round(os.getloadavg()[0], 1)
    print(f"\n{result['best']:,} records/s at best, {result['median']:,} median of {PASSES}; load {result['load']}")
    return result


def memory(folder: Path, count: int, work: Path) -> dict[str, Any]:
    """Peak memory and seconds of the command for `count` records."""
    lines = repeated(folder, count, work / f"{count}.txt")
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "halonerf.cli", *command(lines, work)], capture_output=True, text=True, check=True
    )
    seconds = time.perf_counter() - started
    manifest = json.loads((Path(done.stdout.splitlines()[-1]) / "manifest.json").read_text())
    found = {"peak_mb": manifest["peak_memory_mb"], "seconds": round(seconds, 1)}
    found["records_per_s"] = manifest["summary"]["records_per_s"]
    print(f"{count:>9,} records: {found['peak_mb']:.0f} MB, {found['seconds']:.0f} s", flush=True)
    return found


def kills(folder: Path, count: int, work: Path) -> dict[str, Any]:
    """Kill a run at `count` random moments, let it end, and compare with an unbroken one."""
    import halonerf.pipeline.run  # noqa: F401 - so that the forked processes need not load it
    from halonerf.cli import composed, run
    from halonerf.data.labels.table import read_labels

    lines = repeated(folder, RECORDS, work / "killed.txt")
    whole = Path(str(run(composed(command(lines, work / "whole")))))
    shards, chance = -(-RECORDS // BATCH), random.Random(0)
    killed = 0
    for target in sorted(chance.randrange(shards + 1) for _ in range(count)):
        child = os.fork()
        if child == 0:
            try:
                run(composed(command(lines, work / "broken")))
            finally:
                os._exit(0)
        while finished(work / "broken") < target and os.waitpid(child, os.WNOHANG)[0] == 0:
            time.sleep(0.002)
        time.sleep(chance.uniform(0.0, 0.1))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        killed += 1
    broken = Path(str(run(composed(command(lines, work / "broken")))))
    same = (broken / "labels.csv").read_bytes() == (whole / "labels.csv").read_bytes()
    ids = [label.image_id for label in read_labels(broken / "labels.csv")]
    found = {"records": RECORDS, "kills": killed, "same": same, "rows": len(ids), "twice": len(ids) - len(set(ids))}
    print(f"\n{killed} kills: same table as the unbroken run: {same}; {found['twice']} records twice")
    return found


def finished(root: Path) -> int:
    """Shards on disk."""
    return sum(1 for _ in root.glob("*/distill/*/parts/[0-9]*.json"))


def command(lines: Path, root: Path) -> list[str]:
    return ["stage=distill", "corpus=wikiscenes_text", f"corpus.path={lines}", f"artifacts={root}"]


def repeated(folder: Path, count: int, target: Path) -> Path:
    """A file of `count` records: the real ones again and again, each with a path of its own."""
    lines = [line for path in sorted(folder.glob("*.txt")) for line in path.read_text(encoding="utf-8").splitlines()]
    with open(target, "w", encoding="utf-8") as stream:
        for number, line in enumerate(islice(cycle(lines), count)):
            stream.write(f"R{number // len(lines)}_{number % len(lines)}/{line}\n")
    return target


if __name__ == "__main__":
    main()
