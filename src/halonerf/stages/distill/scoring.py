"""Scores of pseudo-labels against ground truth of a procedural scene, or against the weak labels of a corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Collection as Words
from typing import Any

from halonerf.data.labels.table import best_labels
from halonerf.types import PseudoLabel

Relation = Callable[[str], Words[str]]
LEVELS = ("exact", "kind", "part")
MAX_CONFUSIONS = 100  # in the metrics


def no_relation(label: str) -> Words[str]:
    """The empty relation, for distillers without a `LabelHierarchy`."""
    return ()


def score(labels: Sequence[PseudoLabel], truth: Mapping[str, str], broader: Relation = no_relation) -> dict[str, Any]:
    """Accuracy of the best label of each photo with ground truth; "" is a class too: no particular part.

    Args:
        truth: photo id to label. broader: labels of which a label is a kind. A prediction that is a kind of the truth
            ("bell tower" where the truth is "tower") is correct.
    Returns: `accuracy`: fraction of correct predictions; `accuracy_exact`: of those that equal the truth. `precision`:
    among predictions other than "". `recall`: among photos whose truth is not "". None where the denominator is 0.
    `confusions`: wrong predictions with their counts, most frequent first.
    """
    predictions = best_labels(labels)
    pairs = [(true, predictions[image_id]) for image_id, true in truth.items() if image_id in predictions]
    correct = [true == predicted or true in broader(predicted) for true, predicted in pairs]
    precise = [hit for hit, (_, predicted) in zip(correct, pairs, strict=True) if predicted]
    recalled = [hit for hit, (true, _) in zip(correct, pairs, strict=True) if true]
    wrong = Counter(pair for hit, pair in zip(correct, pairs, strict=True) if not hit)
    return {
        "records": len(pairs),
        "accuracy": _ratio(sum(correct), len(correct)),
        "accuracy_exact": _ratio(sum(true == predicted for true, predicted in pairs), len(pairs)),
        "precision": _ratio(sum(precise), len(precise)),
        "recall": _ratio(sum(recalled), len(recalled)),
        "confusions": [
            {"truth": true, "answer": predicted, "count": count} for (true, predicted), count in wrong.most_common()
        ],
    }


class WeakScores:
    """Agreement of records' labels with their weak labels, accumulated; memory depends on the classes only.

    The weak labels name a few classes; a label outside them cannot agree, even if it is correct. So each label implies
    classes at one of three levels: `exact`, itself; `kind`, also those of which it is a kind (a rose window is a
    window); `part`, also those of which it is a part or in which it is usually seen (a tympanum, in a portal). Let P be
    the classes that a record's labels imply and W its weak labels. Any-of: the record is found if P and W intersect;
    wrong if P is not empty and disjoint from W; missed if W is not empty and disjoint from P. A record can be wrong and
    missed. precision = found / (found + wrong), recall = found / (found + missed), micro-F1 their harmonic mean over
    all records. `chance` is the fraction found if labels and weak labels were drawn independently.
    """

    def __init__(self, classes: Iterable[str], broader: Relation, wholes: Relation) -> None:
        self.classes = frozenset(classes)
        self._relations: dict[str, Relation] = {
            "exact": no_relation,
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
        """Add one record's labels, best first, and its weak labels."""
        true = frozenset(weak)
        names = [label.label for label in labels if label.label]
        self.records += 1
        self.labelled += bool(names)
        self._weak[true] += 1
        for level in LEVELS:
            implied = frozenset().union(*[self._classes(level, name) for name in names])
            hit = not implied.isdisjoint(true)
            self._counts[level].update(
                {"found": hit, "wrong": not hit and bool(implied), "missed": not hit and bool(true)}
            )
            self._sets[level][implied] += 1
            if level == "kind":
                for name in implied | true:
                    self._class[name].update(
                        {"predicted": name in implied, "weak": name in true, "both": name in implied & true}
                    )
            if level == "part" and not hit and true:
                self._confused[(" + ".join(sorted(true)), names[0] if names else "")] += 1
        answer = self._class_of(names[0]) if names else "none"
        for name in true or ("",):
            self._matrix[name][answer] += 1

    def result(self) -> dict[str, Any]:
        """All figures as JSON types; None where the denominator is 0."""
        return {
            "records": self.records,
            "labelled": self.labelled,
            "any_of": {level: self._level_figures(level) for level in LEVELS},
            "classes": {name: _class_figures(counts) for name, counts in self._class.items()},
            "matrix": {name: dict(row.most_common()) for name, row in self._matrix.items() if row},
            "confusions": [
                {"weak": true, "answer": answer, "count": count}
                for (true, answer), count in self._confused.most_common(MAX_CONFUSIONS)
            ],
        }

    def _level_figures(self, level: str) -> dict[str, Any]:
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
            "precision": _ratio(found, found + wrong),
            "recall": _ratio(found, found + missed),
            "micro_f1": _ratio(2 * found, 2 * found + wrong + missed),
            "chance": _ratio(pairs, self.records**2),
        }

    def _class_of(self, name: str) -> str:
        """The class of which the best label is a kind; "other" where there is none."""
        return min(self._classes("kind", name), default="other") if name not in self.classes else name

    def _classes(self, level: str, name: str) -> frozenset[str]:
        if (level, name) not in self._implied:
            self._implied[level, name] = self.classes & {name, *self._relations[level](name)}
        return self._implied[level, name]


def _class_figures(counts: Mapping[str, int]) -> dict[str, Any]:
    return {
        "weak": counts["weak"],
        "predicted": counts["predicted"],
        "precision": _ratio(counts["both"], counts["predicted"]),
        "recall": _ratio(counts["both"], counts["weak"]),
    }


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
