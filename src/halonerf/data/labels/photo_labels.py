"""Photos with the labels that their metadata gave them, of any number of landmarks: which labels are one, which kin."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from halonerf.data.collection import Collection
from halonerf.data.labels.words import normalise_label, plural
from halonerf.types import PseudoLabel

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PhotoLabel:
    """A photo, one label of it, and how sure that label is, in [0, 1]."""

    photo: Path
    label: str
    confidence: float
    landmark: str


def photo_labels(
    collection: Collection, labels: Sequence[PseudoLabel], landmark: str, min_confidence: float = 0.0
) -> list[PhotoLabel]:
    """A row for each label of each photo that can be opened, in the labels' order; "unknown" gives none.

    Of equal labels of a photo the surest stays. Labels less sure than `min_confidence` are left out.
    """
    found: dict[tuple[str, str], PhotoLabel] = {}
    closed: set[str] = set()
    for answer in labels:
        label, photo = normalise_label(answer.label), collection.photos / answer.image_id
        if not label or answer.confidence < min_confidence or answer.image_id in closed:
            continue
        key = (answer.image_id, label)
        if key not in found and not _opens(photo):
            closed.add(answer.image_id)
            continue
        if key not in found or answer.confidence > found[key].confidence:
            found[key] = PhotoLabel(photo, label, answer.confidence, landmark)
    if closed:
        log.warning("%s: left out %d labelled photos that cannot be read, e.g. %s", landmark, len(closed), min(closed))
    return list(found.values())


def merge_labels(labels: Iterable[str]) -> dict[str, str]:
    """For each label, the one that stands for all that mean the same: the most frequent, of equals the shortest.

    Labels are the same that differ in hyphens, punctuation or number ("portal", "portals"; an English plural counts
    as one where its singular is among the labels, too, so that "apsis" is nobody's plural).
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
    """[L, L] bool, symmetric: of two labels, one holds all words of the other ("rose window" and "window").

    A photo of the one may well show the other, and may not. A label is not its own kin.
    """
    bags = [frozenset(_words(label)) for label in labels]
    return np.array([[a != b and (a <= b or b <= a) for b in bags] for a in bags], bool).reshape(len(bags), len(bags))


def label_table(
    rows: Sequence[PhotoLabel], same: Mapping[str, str]
) -> tuple[dict[Path, int], dict[str, int], np.ndarray]:
    """The photos and the labels of `rows`, sorted, each with its index, and which photo has which: [N, L] bool.

    same: each label's representative (`merge_labels`); only representatives are in the table.
    """
    photos = {photo: index for index, photo in enumerate(sorted({row.photo for row in rows}))}
    labels = {label: index for index, label in enumerate(sorted({same[row.label] for row in rows}))}
    shows = np.zeros((len(photos), len(labels)), bool)
    for row in rows:
        shows[photos[row.photo], labels[same[row.label]]] = True
    return photos, labels, shows


def split_photos(rows: Sequence[PhotoLabel], share: float, seed: int) -> tuple[list[PhotoLabel], list[PhotoLabel]]:
    """The rows to learn from, and those of about `share` of the photos, drawn by `seed`, to score on."""
    photos = sorted({row.photo for row in rows})
    order = np.random.default_rng((seed, 0x5B117)).permutation(len(photos))
    held = {photos[i] for i in order[: round(share * len(photos))]}
    return [row for row in rows if row.photo not in held], [row for row in rows if row.photo in held]


def interleave(groups: Sequence[str], random: np.random.Generator) -> np.ndarray:
    """A random order of all rows in which every stretch holds each group in about its share of the whole.

    groups: each row's, such as its landmark. Member k of n, in random order, falls into the k-th n-th of the whole.
    """
    places = np.empty(len(groups))
    for group in sorted(set(groups)):
        members = np.flatnonzero([other == group for other in groups])
        places[random.permutation(members)] = (np.arange(len(members)) + random.random(len(members))) / len(members)
    return np.argsort(places, kind="stable")


def _words(label: str) -> list[str]:
    return [word for word in re.split(r"[\W_]+", label) if word]


def _opens(photo: Path) -> bool:
    """Whether its header can be read; reading all of every photo would take as long as an epoch."""
    try:
        with Image.open(photo) as image:
            return image.width > 0
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
