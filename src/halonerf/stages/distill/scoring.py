"""How well labels agree with what is known: with the truth of a made scene, or with the weak labels of a corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Collection as Words
from typing import Any

from halonerf.data.labels.table import best_labels
from halonerf.types import PseudoLabel

Relation = Callable[[str], Words[str]]
LEVELS = ("exact", "kind", "part")
CONFUSIONS = 100  # kinds of disagreement that are listed


def nothing_broader(label: str) -> Words[str]:
    """For distillers that know no relations between words."""
    return ()


def score(
    labels: Sequence[PseudoLabel], truth: Mapping[str, str], broader: Relation = nothing_broader
) -> dict[str, Any]:
    """How many photos with a known truth got it; "" is a truth too: "no part in particular".

    Args:
        broader: the wider words of a label. An answer that is a kind of the truth ("bell tower" where the truth is
            "tower") is right.
    Returns: `accuracy`: right answers of all; `accuracy_exact`: those that are the truth word by word. `precision`: of
    the answers that name something. `recall`: of the photos whose truth names something. None where there is nothing
    to divide by. `confusions`: wrong answers with their counts, most frequent first.
    """
    answers = best_labels(labels)
    pairs = [(wanted, answers[image_id]) for image_id, wanted in truth.items() if image_id in answers]
    right = [wanted == answer or wanted in broader(answer) for wanted, answer in pairs]
    named = [hit for hit, (_, answer) in zip(right, pairs, strict=True) if answer]
    found = [hit for hit, (wanted, _) in zip(right, pairs, strict=True) if wanted]
    wrong = Counter(pair for hit, pair in zip(right, pairs, strict=True) if not hit)
    return {
        "records": len(pairs),
        "accuracy": _share(sum(right), len(right)),
        "accuracy_exact": _share(sum(wanted == answer for wanted, answer in pairs), len(pairs)),
        "precision": _share(sum(named), len(named)),
        "recall": _share(sum(found), len(found)),
        "confusions": [
            {"truth": wanted, "answer": answer, "count": count} for (wanted, answer), count in wrong.most_common()
        ],
    }


class WeakScores:
    """Agreement of a record's labels with its weak labels, record by record: memory depends on the classes alone.

    The weak labels name a few classes; a label outside them cannot agree, however right. So each label stands for the
    classes that it implies, by one of three readings: `exact`, itself; `kind`, also what it is a kind of (a rose window
    is a window); `part`, also what it is a part of or is usually seen in (a tympanum, in a portal). Of a record's
    labels, P is all classes that they imply, W its weak labels. Any-of: the record is found if P and W share a class;
    it is wrong if P has classes and none of W; it is missed if W has some and none is in P. A record that is wrong is
    missed as well. precision = found / (found + wrong), recall = found / (found + missed), micro-F1 their harmonic
    mean over all records. `chance` is the share found if labels and weak labels were drawn independently.
    """

    def __init__(self, classes: Iterable[str], broader: Relation, wholes: Relation) -> None:
        self.classes = frozenset(classes)
        self._relations: dict[str, Relation] = {
            "exact": nothing_broader,
            "kind": broader,
            "part": lambda label: {*broader(label), *wholes(label)},
        }
        self._implied: dict[tuple[str, str], frozenset[str]] = {}
        self._counts = {level: Counter[str]() for level in LEVELS}
        self._sets = {level: Counter[frozenset[str]]() for level in LEVELS}
        self._weak = Counter[frozenset[str]]()
        self._class = {name: Counter[str]() for name in sorted(self.classes)}
        self._matrix: dict[str, Counter[str]] = {name: Counter() for name in (*sorted(self.classes), "")}
        self._confused = Counter[tuple[str, str]]()
        self.records = self.labelled = 0

    def add(self, labels: Sequence[PseudoLabel], weak: Sequence[str]) -> None:
        """One record's labels, best first, and its weak ones."""
        wanted = frozenset(weak)
        names = [label.label for label in labels if label.label]
        self.records += 1
        self.labelled += bool(names)
        self._weak[wanted] += 1
        for level in LEVELS:
            implied = frozenset().union(*[self._classes(level, name) for name in names])
            hit = not implied.isdisjoint(wanted)
            self._counts[level].update(
                {"found": hit, "wrong": not hit and bool(implied), "missed": not hit and bool(wanted)}
            )
            self._sets[level][implied] += 1
            if level == "kind":
                for name in implied | wanted:
                    self._class[name].update(
                        {"predicted": name in implied, "weak": name in wanted, "both": name in implied & wanted}
                    )
            if level == "part" and not hit and wanted:
                self._confused[(" + ".join(sorted(wanted)), names[0] if names else "")] += 1
        answer = self._answer(names[0]) if names else "none"
        for name in wanted or ("",):
            self._matrix[name][answer] += 1

    def result(self) -> dict[str, Any]:
        """All figures; None where there is nothing to divide by."""
        return {
            "records": self.records,
            "labelled": self.labelled,
            "any_of": {level: self._level(level) for level in LEVELS},
            "classes": {name: _class_figures(counts) for name, counts in self._class.items()},
            "matrix": {name: dict(row.most_common()) for name, row in self._matrix.items() if row},
            "confusions": [
                {"weak": wanted, "answer": answer, "count": count}
                for (wanted, answer), count in self._confused.most_common(CONFUSIONS)
            ],
        }

    def _level(self, level: str) -> dict[str, Any]:
        counts = self._counts[level]
        found, wrong, missed = counts["found"], counts["wrong"], counts["missed"]
        pairs = sum(
            n * m
            for one, n in self._sets[level].items()
            for other, m in self._weak.items()
            if not one.isdisjoint(other)
        )
        return {
            "found": found,
            "wrong": wrong,
            "missed": missed,
            "precision": _share(found, found + wrong),
            "recall": _share(found, found + missed),
            "micro_f1": _share(2 * found, 2 * found + wrong + missed),
            "chance": _share(pairs, self.records**2),
        }

    def _answer(self, name: str) -> str:
        """The class that the best label is a kind of; "other" for a part that is in none."""
        return min(self._classes("kind", name), default="other") if name not in self.classes else name

    def _classes(self, level: str, name: str) -> frozenset[str]:
        if (level, name) not in self._implied:
            self._implied[level, name] = self.classes & {name, *self._relations[level](name)}
        return self._implied[level, name]


def _class_figures(counts: Mapping[str, int]) -> dict[str, Any]:
    return {
        "weak": counts["weak"],
        "predicted": counts["predicted"],
        "precision": _share(counts["both"], counts["predicted"]),
        "recall": _share(counts["both"], counts["weak"]),
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
