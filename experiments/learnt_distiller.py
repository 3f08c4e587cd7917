"""Does a small language model learn, from the rules' labels of some landmarks, to read the records of others?

    python experiments/learnt_distiller.py FOLDER [--models two_layers one_layer] [--steps 1500] [--seed 0]

FOLDER holds the text files of WikiScenes. The records of landmarks with even numbers, labelled by `rules`, teach each
model (`small_t5.teach`: T5 from nothing, one thread); those of landmarks with odd numbers are then read by

    halonerf -m stage=distill corpus=wikiscenes_text corpus.path=OUT/others.txt distiller=rules,two_layers,one_layer

with each model as a preset of `hf_generate` (OUT/conf/distiller, found by --config-dir) and the paper's prompt. What
`rules` says of these records is the measure: *exact*, the same label; *any of*, one of the up to three labels that
`rules` gives the record; *kind*, the same label or a kind of it. *weak* is the micro-F1 against the weak labels (any
of, by kind), which `rules` has, too. Beside the models stand answers that take no learning (the most frequent label,
one drawn at random, a known label that stands in the record, that of the most similar record)
and a linear classifier of words, which chooses among labels and cannot write. A second table has the runs as
`distillers.py` shows them. Models, records and runs stay in experiments/out/learnt_distiller, where a model that was
taught with the same options is taken as it is; figures go to experiments/out/learnt_distiller.json.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import distillers
import small_t5
from halonerf.data.corpora.wikiscenes_text import WikiScenesText
from halonerf.distillers.gazetteer.inflection import word_forms, words
from halonerf.distillers.rules import Rules
from halonerf.stages.distill.scoring import WeakScores
from halonerf.types import ImageRecord, PseudoLabel

OUT = Path(__file__).parent / "out"
SIZES = {"two_layers": {"width": 128, "layers": 2}, "one_layer": {"width": 128, "layers": 1}}
ASKED = {"prompt": "paper", "characters": 120}  # the same while it learns and while it is used
PRESET = """# A model of experiments/learnt_distiller.py
defaults: [hf_generate, _self_]
weights: {weights}
prompt: {prompt}
answers: plain
labels: 1
characters: {characters}
tokens: 12
batch: 64
device: cpu
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    work = OUT / "learnt_distiller"
    for made in ("conf", "artifacts"):
        shutil.rmtree(work / made, ignore_errors=True)
    learnt, others = split(options.folder, work)
    fits = {name: fit(name, learnt, work, options.steps, options.seed) for name in options.models}
    sweep(work, options.models)
    runs = {run["name"].split()[-1]: run for run in distillers.finished(work / "artifacts")}
    judge = Judge(others, list(WikiScenesText(str(work / "others.txt")).weak_labels()))
    answers = {**unlearnt(learnt, others), "linear classifier of words": linear(learnt, others)}
    for name in options.models:
        answers[name] = [runs[name]["labels"][record.image_id] for record in others]
    answers["rules"] = judge.one
    found = {name: judge.score(given) for name, given in answers.items()}
    print(f"\n{len(others):,} records of other landmarks, {len(learnt):,} learnt from; against the rules' labels")
    print(f"{'':<34}{'exact':>8}{'any of':>8}{'kind':>8}{'weak':>8}")
    for name, row in found.items():
        print(f"{name:<34}{row['exact']:>8.3f}{row['any_of']:>8.3f}{row['kind']:>8.3f}{row['weak']:>8.3f}")
    print(f"{'drawn at random':<34}{chance(learnt, others):>8.3f}")
    for name, row in fits.items():
        print(
            f"{name}: {row['parameters']:,} parameters, loss {row['first_loss']:.2f} to {row['last_loss']:.2f}, "
            f"{row['cpu_s']:.0f} s of one core ({row['wall_s']:.0f} s by the clock)"
        )
    print("\n" + distillers.table(list(runs.values())))
    report = {"steps": options.steps, "seed": options.seed, "learnt": len(learnt), "others": len(others)}
    report |= {"chance": chance(learnt, others), "against_rules": found, "fits": fits}
    report["runs"] = {name: {k: v for k, v in run.items() if k != "labels"} for name, run in runs.items()}
    (OUT / "learnt_distiller.json").write_text(json.dumps(report, indent=1) + "\n")


def split(folder: Path, work: Path) -> tuple[list[ImageRecord], list[ImageRecord]]:
    """Records of landmarks with even and with odd numbers; files of both are in `work`."""
    work.mkdir(parents=True, exist_ok=True)
    parts: dict[bool, list[str]] = {True: [], False: []}
    for path in sorted(folder.glob("*.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            landmark = re.search(r"/(\d+)/", line.split(":[", 1)[0])
            if landmark:
                parts[int(landmark[1]) % 2 == 0].append(line)
    records = []
    for name, lines in (("learnt.txt", parts[True]), ("others.txt", parts[False])):
        (work / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        records.append(list(WikiScenesText(str(work / name)).records()))
    return records[0], records[1]


def fit(name: str, records: Sequence[ImageRecord], work: Path, steps: int, seed: int) -> dict[str, Any]:
    """Teach one model, write its preset, and say what it took; a model that is there is not taught again."""
    settings = {**ASKED, **SIZES[name], "steps": steps, "seed": seed}
    preset, figures = work / "conf" / "distiller" / f"{name}.yaml", work / name / "fit.json"
    preset.parent.mkdir(parents=True, exist_ok=True)
    preset.write_text(PRESET.format(weights=json.dumps(str(work / name)), **ASKED))
    known: dict[str, Any] = json.loads(figures.read_text()) if figures.is_file() else {}
    if known.get("settings") == settings:
        return known
    columns = (TextColumn(f"{name}, loss {{task.fields[loss]:.2f}}"), BarColumn(), MofNCompleteColumn())
    clock, wall = time.process_time(), time.perf_counter()
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task(name, total=steps, loss=float("nan"))
        losses = small_t5.teach(
            work / name, records, Rules().distill, **settings,
            on_step=lambda step, loss: progress.update(task, completed=step, loss=loss),
        )  # fmt: skip
    few = min(50, len(losses))
    known = {
        "settings": settings,
        "parameters": small_t5.parameters(work / name),
        "first_loss": sum(losses[:few]) / few,
        "last_loss": sum(losses[-few:]) / few,
        "cpu_s": round(time.process_time() - clock, 1),
        "wall_s": round(time.perf_counter() - wall, 1),
    }
    figures.write_text(json.dumps(known, indent=1) + "\n")
    return known


def sweep(work: Path, models: Sequence[str]) -> None:
    """Read the other landmarks' records with the rules and each model, by the command that people use."""
    command = [
        "-m", "stage=distill", "corpus=wikiscenes_text", f"corpus.path={work / 'others.txt'}",
        f"distiller={','.join(['rules', *models])}", f"artifacts={work / 'artifacts'}", "--config-dir", work / "conf",
    ]  # fmt: skip
    subprocess.run([sys.executable, "-m", "halonerf.cli", *map(str, command)], check=True)


class Judge:
    """How far answers agree with the rules' on the same records, in the records' order."""

    def __init__(self, records: Sequence[ImageRecord], weak: Sequence[tuple[str, ...]]) -> None:
        rules, more = Rules(), Rules(labels=3)
        self.broader, self.wholes, self.weak = rules.broader, rules.wholes, weak
        self.one = [label.label for label in rules.distill(records)]
        self.any = [{label.label for label in more.distill([record])} for record in records]

    def score(self, answers: Sequence[str]) -> dict[str, float]:
        triples = list(zip(answers, self.one, self.any, strict=True))
        scores = WeakScores({name for names in self.weak for name in names}, self.broader, self.wholes)
        for answer, names in zip(answers, self.weak, strict=True):
            scores.add([PseudoLabel("", answer)], names)
        return {
            "exact": sum(a == one for a, one, _ in triples) / len(triples),
            "any_of": sum(a in several for a, _, several in triples) / len(triples),
            "kind": sum(a == one or one in self.broader(a) for a, one, _ in triples) / len(triples),
            "weak": scores.result()["any_of"]["kind"]["micro_f1"],
        }


def labels_of(records: Sequence[ImageRecord]) -> list[str]:
    return [label.label for label in Rules().distill(records)]


def chance(learnt: Sequence[ImageRecord], others: Sequence[ImageRecord]) -> float:
    """Share of exact answers if labels were drawn as often as they were learnt."""
    seen, wanted = Counter(labels_of(learnt)), Counter(labels_of(others))
    return sum(count * seen[name] for name, count in wanted.items()) / len(learnt) / len(others)


def unlearnt(learnt: Sequence[ImageRecord], others: Sequence[ImageRecord]) -> dict[str, list[str]]:
    """The most frequent label; a known label that stands in the record; the label of the most similar record."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    labels = labels_of(learnt)
    phrases: dict[tuple[str, ...], str] = {}  # each label, its last word in singular and plural
    for name in filter(None, set(labels)):
        *before, last = words(name)
        phrases |= {(*before, form): name for form in word_forms(last, "en")}
    vectors = TfidfVectorizer()
    known = vectors.fit_transform([_joined(record) for record in learnt])
    nearest = (vectors.transform([_joined(record) for record in others]) @ known.T).toarray().argmax(axis=1)
    return {
        "most frequent label": [Counter(labels).most_common(1)[0][0]] * len(others),
        "a label that stands in the record": [copied(record, phrases) for record in others],
        "label of the most similar record": [labels[place] for place in nearest],
    }


def copied(record: ImageRecord, phrases: dict[tuple[str, ...], str]) -> str:
    """The longest label in the most telling field that holds one: caption, file name, the deepest category."""
    for text in (record.caption, record.filename, *reversed(record.categories)):
        told = words(text)
        for length in (3, 2, 1):
            for start in range(len(told) - length + 1):
                if tuple(told[start : start + length]) in phrases:
                    return phrases[tuple(told[start : start + length])]
    return ""


def linear(learnt: Sequence[ImageRecord], others: Sequence[ImageRecord]) -> list[str]:
    """Logistic regression of which words stand in the record."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    vectors = TfidfVectorizer()
    known = vectors.fit_transform([_joined(record) for record in learnt])
    fitted = LogisticRegression(C=10.0, max_iter=200).fit(known, labels_of(learnt))
    return [str(name) for name in fitted.predict(vectors.transform([_joined(record) for record in others]))]


def _joined(record: ImageRecord) -> str:
    return " ".join((record.caption, record.filename, *record.categories))


if __name__ == "__main__":
    main()
