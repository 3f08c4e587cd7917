"""Labels from a multilingual gazetteer: no network, no weights, 20,000 records a second on one core.

Each field of a record (caption, file name, categories from the leaf up) is read for parts of a building. A part that
is shown counts more than one that tells where; a standpoint, a street named after a part, or something "near" it does
not count. Within a field a part beats what it is a part of (portal over facade); over all fields, the best-scored
part wins, and is made more precise where another field names a special kind of it (window -> stained glass).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from halonerf.distillers.gazetteer.inflection import words
from halonerf.distillers.gazetteer.mentions import (
    ALSO,
    DENIED,
    SETTING,
    SHOWN,
    STANDPOINT,
    Mention,
    clean,
    find_mentions,
)
from halonerf.distillers.gazetteer.merging import Merging
from halonerf.distillers.gazetteer.vocabulary import Vocabulary
from halonerf.errors import BadInput
from halonerf.types import ImageRecord, PseudoLabel

ROLES = {SHOWN: 1.0, ALSO: 0.9, SETTING: 0.55, STANDPOINT: 0.0, DENIED: 0.0}
ROOM_STANDPOINT = 0.35  # one who stands in a nave sees it; one who stands in a tower does not
CERTAINTY = 0.9  # of a part plainly named in a caption and nowhere contradicted
AGREEMENT = 0.15  # what another field that names the same part adds to its score
CLAIMS = 3  # fields that are counted for one part
LATE = ((60, 0.6), (20, 0.8))  # long captions tell history; words this far in say less about the photo
SEGMENT, LEAST_SEGMENT = 0.95, 0.75  # factor for each comma or full stop before the part, and its floor
WHOLE = 0.6  # factor of a facade in a field that also shows its portal


class Field(NamedTuple):
    """What one text of a record says, or several together.

    scores: of each part that is named, in [0, 1], and the words that name it. standpoints: parts that the photo was
    taken from, unless the same text shows them as well.
    """

    scores: tuple[tuple[str, float, str], ...]
    standpoints: frozenset[str]


SILENT = Field((), frozenset())


class Rules:
    """A `LabelDistiller` that looks words up."""

    data_options = ("vocabulary",)

    def __init__(
        self,
        vocabulary: str | None = None,
        caption_weight: float = 1.0,
        filename_weight: float = 0.9,
        category_weight: float = 0.8,
        category_step: float = 0.1,
        least: float = 0.2,
        labels: int = 1,
        characters: int = 1000,
    ) -> None:
        weights = (caption_weight, filename_weight, category_weight, category_step, least)
        if not all(0.0 <= weight <= 1.0 for weight in weights):
            raise BadInput(f"expected the rules' weights and `least` in [0, 1], got {weights}.")
        if labels < 1 or characters < 1:
            raise BadInput(f"expected at least 1 label and 1 character, got labels={labels}, characters={characters}.")
        self.vocabulary = Vocabulary(None if vocabulary is None else Path(vocabulary))
        self.caption_weight, self.filename_weight = caption_weight, filename_weight
        self.category_weight, self.category_step = category_weight, category_step
        self.least, self.labels, self.characters = least, labels, characters
        self._field = lru_cache(maxsize=1 << 15)(self._read)  # categories repeat, alone and all those of a photo
        self._categories = lru_cache(maxsize=1 << 13)(self._read_categories)

    def distill(self, records: Sequence[ImageRecord]) -> list[PseudoLabel]:
        """The most likely parts of each record, best first, at most `labels`; one empty label where none is likely."""
        return [label for record in records for label in self._labels(record)]

    def broader(self, label: str) -> frozenset[str]:
        """All that `label` is a kind of; empty for a label that the vocabulary does not have."""
        return self.vocabulary.wider.get(label, frozenset())

    def wholes(self, label: str) -> frozenset[str]:
        """All that `label` is a kind or a part of, or is usually seen in; empty for a label unknown here."""
        return self.vocabulary.wholes.get(label, frozenset())

    def merge_rare_labels(self, counts: Mapping[str, int], least: int) -> dict[str, str]:
        """What each label becomes when those with fewer than `least` photos go; see `Merging.merge_rare_labels`."""
        return Merging(self.vocabulary).merge_rare_labels(counts, least)

    def _labels(self, record: ImageRecord) -> list[PseudoLabel]:
        fields = [field for field in self._fields(record) if field is not SILENT]
        if not fields:
            return [PseudoLabel(record.image_id, "")]
        standpoints = frozenset().union(*[field.standpoints for field in fields]) - self.vocabulary.rooms
        scores: dict[str, list[tuple[float, str]]] = {}
        for field in fields:
            for concept, value, evidence in field.scores:
                if concept not in standpoints:
                    scores.setdefault(concept, []).append((value, evidence))
        totals = {concept: _total(claims) for concept, claims in scores.items()}
        ranked = sorted(totals, key=totals.__getitem__, reverse=True)
        if ranked:
            ranked[0] = self._most_precise(ranked[0], totals)
        chosen: list[PseudoLabel] = []
        for concept in dict.fromkeys(ranked):
            if len(chosen) == self.labels:
                break
            wholes = self.vocabulary.wholes[concept]
            if any(label.label in wholes or concept in self.vocabulary.wholes[label.label] for label in chosen):
                continue
            confidence = _confidence(concept, scores, totals, self.vocabulary)
            if confidence >= self.least:
                evidence = max(scores[concept])[1]
                chosen.append(PseudoLabel(record.image_id, concept, round(confidence, 4), evidence))
        return chosen or [PseudoLabel(record.image_id, "")]

    def _fields(self, record: ImageRecord) -> tuple[Field, ...]:
        """Contents of caption, file name, and all categories, each with its weight."""
        landmark, most = record.landmark[:200], self.characters
        name = (record.filename or record.image_id).rstrip("/").rpartition("/")[2]
        stem = name.rpartition(".")[0] if "." in name[-6:] else name
        return (
            self._field(record.caption[:most], landmark, self.caption_weight) if record.caption else SILENT,
            self._field(stem[:most], landmark, self.filename_weight) if stem else SILENT,
            self._categories(record.categories[-16:], landmark) if record.categories else SILENT,
        )

    def _read_categories(self, categories: tuple[str, ...], landmark: str) -> Field:
        """From the last, the deepest, to the first."""
        weight, least = self.category_weight, 0.3 * self.category_weight
        found: list[Field] = []
        for category in reversed(categories):
            found.append(self._field(category[: self.characters], landmark, max(weight, least)))
            weight -= self.category_step
        scores = tuple(score for field in found for score in field.scores)
        standpoints = frozenset().union(*[field.standpoints for field in found])
        return Field(scores, standpoints) if scores or standpoints else SILENT

    def _read(self, text: str, landmark: str, weight: float) -> Field:
        name = words(landmark) if landmark else ()
        skip = name if len(name) > 1 and find_mentions(landmark, self.vocabulary) else ()
        mentions = find_mentions(clean(text, self.characters), self.vocabulary, skip)
        if not mentions:
            return SILENT
        shown = {mention.concept for mention in mentions if mention.role in (SHOWN, ALSO, SETTING)}
        standpoints = frozenset(mention.concept for mention in mentions if mention.role == STANDPOINT) - shown
        scores = ((part, weight * value, text) for part, value, text in self._scores(mentions) if weight > 0)
        return Field(tuple(scores), standpoints)

    def _scores(self, mentions: Sequence[Mention]) -> Iterator[tuple[str, float, str]]:
        """Each part that one text names, its score in (0, 1] and the words that name it."""
        if (
            len(mentions) == 1
            and mentions[0].role == SHOWN
            and not mentions[0].segment
            and mentions[0].position <= LATE[-1][0]
        ):
            yield mentions[0].concept, 1.0, mentions[0].words  # what most texts are, in short
            return
        scores: dict[str, tuple[float, str]] = {}
        for mention in mentions:
            role = ROLES[mention.role]
            if mention.role == STANDPOINT and mention.concept in self.vocabulary.rooms:
                role = ROOM_STANDPOINT
            value = role * max(SEGMENT**mention.segment, LEAST_SEGMENT)
            value *= next((factor for after, factor in LATE if mention.position > after), 1.0)
            if value > scores.get(mention.concept, (0.0, ""))[0]:
                scores[mention.concept] = (value, mention.words)
        plain = {mention.concept for mention in mentions if mention.role in (SHOWN, ALSO)}
        covered = {whole for concept in plain for whole in self.vocabulary.wholes[concept]}
        for concept, (value, evidence) in scores.items():
            yield concept, value * (WHOLE if concept in covered else 1.0), evidence

    def _most_precise(self, concept: str, totals: dict[str, float]) -> str:
        """The best-scored special kind of `concept` that any field names, or `concept`."""
        kinds = [other for other in totals if concept in self.vocabulary.wider[other]]
        return max(kinds, key=totals.__getitem__) if kinds else concept


def _total(claims: Sequence[tuple[float, str]]) -> float:
    """The best claim, and a little for the next ones; repetition beyond that (a hundred categories) says no more."""
    if len(claims) == 1:
        return claims[0][0]
    best, *others = _best(claims)
    return best + AGREEMENT * sum(others)


def _best(claims: Sequence[tuple[float, str]]) -> list[float]:
    return sorted([value for value, _ in claims], reverse=True)[:CLAIMS]


def _confidence(
    concept: str, scores: dict[str, list[tuple[float, str]]], totals: dict[str, float], vocabulary: Vocabulary
) -> float:
    """1 - the product of each field's doubt, less where another, unrelated part is named too. In [0, 1]."""
    doubt = 1.0
    for value in _best(scores[concept]):
        doubt *= 1.0 - CERTAINTY * min(value, 1.0)
    wholes, rival = vocabulary.wholes[concept], 0.0
    for other, total in totals.items():
        if total > rival and other != concept and other not in wholes and concept not in vocabulary.wholes[other]:
            rival = total
    own = totals[concept]
    return (1.0 - doubt) * own / (own + 0.3 * rival)
