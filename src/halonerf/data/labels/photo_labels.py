"""Photos with their distilled labels, of any number of landmarks: merging of equal labels, related labels, splits."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from halonerf.data.collection import Collection
from halonerf.data.labels.words import normalise_label, plural
from halonerf.data.photo_io import can_open
from halonerf.types import PseudoLabel

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PhotoLabel:
    """A photo, one of its labels, and the label's confidence in [0, 1]."""

    photo: Path
    label: str
    confidence: float
    landmark: str


def photo_labels(
    collection: Collection, labels: Sequence[PseudoLabel], landmark: str, min_confidence: float = 0.0
) -> list[PhotoLabel]:
    """One row per label and readable photo, in the order of `labels`; "" (unknown) gives none.

    Of equal labels of a photo the most confident is kept; those below `min_confidence` are left out.
    """
    found: dict[tuple[str, str], PhotoLabel] = {}
    unreadable: set[str] = set()
    for row in labels:
        label, photo = normalise_label(row.label), collection.photos / row.image_id
        if not label or row.confidence < min_confidence or row.image_id in unreadable:
            continue
        key = (row.image_id, label)
        if key not in found and not can_open(photo):  # decoding all of every photo would take as long as an epoch
            unreadable.add(row.image_id)
            continue
        if key not in found or row.confidence > found[key].confidence:
            found[key] = PhotoLabel(photo, label, row.confidence, landmark)
    if unreadable:
        count, example = len(unreadable), min(unreadable)
        log.warning("%s: left out %d labelled photos that cannot be read, e.g. %s", landmark, count, example)
    return list(found.values())


def merge_labels(labels: Iterable[str]) -> dict[str, str]:
    """Label to its representative, the most frequent of all equal labels, of ties the shortest.

    Labels are equal that differ only in hyphens, punctuation or number ("portal", "portals"). An English plural is
    recognised only where its singular is among the labels.
    """
    counts = Counter(labels)
    keys = {label: " ".join(_words(label)) for label in counts}
    singulars = {plural(key): key for key in sorted(set(keys.values()))}
    groups: dict[str, list[str]] = {}
    for label, key in keys.items():
        groups.setdefault(singulars.get(key, key), []).append(label)
    return {
        label: min(group, key=lambda other: (-counts[other], len(other), other))
        for group in groups.values()
        for label in group
    }


def related_labels(labels: Sequence[str]) -> np.ndarray:
    """Pairs of related labels, bool [L, L], symmetric, false on the diagonal.

    Two labels are related where one contains all words of the other ("rose window" and "window"): a photo of one may or
    may not show the other.
    """
    bags = [frozenset(_words(label)) for label in labels]
    return np.array([[a != b and (a <= b or b <= a) for b in bags] for a in bags], bool).reshape(len(bags), len(bags))


def label_table(
    rows: Sequence[PhotoLabel], same: Mapping[str, str]
) -> tuple[dict[Path, int], dict[str, int], np.ndarray]:
    """Photos and labels of `rows`, sorted, each with its index, and which photo has which label, bool [N, L].

    Args:
        same: label to its representative (`merge_labels`); only representatives are in the table.
    """
    photos = {photo: index for index, photo in enumerate(sorted({row.photo for row in rows}))}
    labels = {label: index for index, label in enumerate(sorted({same[row.label] for row in rows}))}
    shows = np.zeros((len(photos), len(labels)), bool)
    for row in rows:
        shows[photos[row.photo], labels[same[row.label]]] = True
    return photos, labels, shows


def split_photos(rows: Sequence[PhotoLabel], share: float, seed: int) -> tuple[list[PhotoLabel], list[PhotoLabel]]:
    """Training rows, and rows of a random `share` of the photos for evaluation."""
    photos = sorted({row.photo for row in rows})
    order = np.random.default_rng((seed, 0x5B117)).permutation(len(photos))
    held = {photos[i] for i in order[: round(share * len(photos))]}
    return [row for row in rows if row.photo not in held], [row for row in rows if row.photo in held]


def interleave(groups: Sequence[str], random: np.random.Generator) -> np.ndarray:
    """A random order, [N], in which every stretch holds each group in about its share of all rows.

    Member k of n of a group, in random order, falls into the k-th of n equal stretches.

    Args:
        groups: [N], the group of each row, such as its landmark.
    """
    places = np.empty(len(groups))
    for group in sorted(set(groups)):
        members = np.flatnonzero([other == group for other in groups])
        places[random.permutation(members)] = (np.arange(len(members)) + random.random(len(members))) / len(members)
    return np.argsort(places, kind="stable")


def _words(label: str) -> list[str]:
    return [word for word in re.split(r"[\W_]+", label) if word]
