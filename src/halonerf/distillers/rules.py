"""Labels by rules over a multilingual gazetteer: no network, no weights, 20,000 records per second on one core.

Each field of a record (caption, file name, categories from the leaf up) is searched for parts of a building. A part
that is shown counts more than one that gives the setting; a standpoint, a street named after a part, or something
"near" it does not count. Within a field a part beats its whole (portal over facade); over all fields, the part with the
highest score wins, and is refined where another field names a special kind of it (window -> stained glass).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from halonerf.config.option_types import Fraction, PositiveInt
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
from halonerf.types import ImageRecord, PseudoLabel

ROLE_WEIGHTS = {SHOWN: 1.0, ALSO: 0.9, SETTING: 0.55, STANDPOINT: 0.0, DENIED: 0.0}
ROOM_STANDPOINT_WEIGHT = 0.35  # a photo taken in a nave shows it; one taken from a tower does not
FIELD_CONFIDENCE = 0.9  # in a part that is plainly named in a caption and nowhere contradicted
AGREEMENT_BONUS = 0.15  # share of its score that another field with the same part adds
MAX_FIELDS = 3  # that count for one part
LATE_FACTORS = ((60, 0.6), (20, 0.8))  # (words before the part, factor): long captions drift into history
SEGMENT_FACTOR, MIN_SEGMENT_FACTOR = 0.95, 0.75  # for each comma or full stop before the part, and its minimum
WHOLE_FACTOR = 0.6  # of a facade in a field that also shows its portal


class FieldEvidence(NamedTuple):
    """Evidence of one field of a record, or of several together.

    scores: part, score in [0, 1], and the words that name it. standpoints: parts that the photo was taken from, unless
    the same text names them as shown.
    """

    scores: tuple[tuple[str, float, str], ...]
    standpoints: frozenset[str]


NO_EVIDENCE = FieldEvidence((), frozenset())


class Rules:
    """A `LabelDistiller` and `LabelHierarchy` by the vocabulary of `halonerf.distillers.gazetteer`.

    Args:
        vocabulary: a YAML file in the layout of `vocabulary.yaml` beside this file; None: that one.
        caption_weight, filename_weight: in [0, 1], confidence of a part that the field names.
        category_weight: in [0, 1], the same of the deepest category. category_step: less for each level up.
        min_confidence: in [0, 1]; labels of lower confidence are dropped.
        labels: maximum number per record, of unrelated parts.
        characters: maximum length of each field that is read.
    """

    data_options = ("vocabulary",)

    def __init__(
        self,
        vocabulary: str | None = None,
        caption_weight: Fraction = 1.0,
        filename_weight: Fraction = 0.9,
        category_weight: Fraction = 0.8,
        category_step: Fraction = 0.1,
        min_confidence: Fraction = 0.2,
        labels: PositiveInt = 1,
        characters: PositiveInt = 1000,
    ) -> None:
        self.vocabulary = Vocabulary(None if vocabulary is None else Path(vocabulary))
        self.caption_weight, self.filename_weight = caption_weight, filename_weight
        self.category_weight, self.category_step = category_weight, category_step
        self.min_confidence, self.labels, self.characters = min_confidence, labels, characters
        self._field = lru_cache(maxsize=1 << 15)(self._read)  # categories recur, singly and as whole lists
        self._categories = lru_cache(maxsize=1 << 13)(self._read_categories)

    def distill(self, records: Sequence[ImageRecord]) -> list[PseudoLabel]:
        """The most likely parts of each record, best first, at most `labels`; one empty label where none is likely."""
        return [label for record in records for label in self._labels(record)]

    def broader(self, label: str) -> frozenset[str]:
        """Labels of which `label` is a kind; empty for one that is not in the vocabulary."""
        return self.vocabulary.wider.get(label, frozenset())

    def wholes(self, label: str) -> frozenset[str]:
        """Labels of which `label` is a kind or a part; empty for one that is not in the vocabulary."""
        return self.vocabulary.wholes.get(label, frozenset())

    def merge_rare_labels(self, counts: Mapping[str, int], min_count: int) -> dict[str, str]:
        """Replacement of each label, where those of fewer than `min_count` records go; see `Merging`."""
        return Merging(self.vocabulary).merge_rare_labels(counts, min_count)

    def _labels(self, record: ImageRecord) -> list[PseudoLabel]:
        fields = [field for field in self._fields(record) if field is not NO_EVIDENCE]
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
            if confidence >= self.min_confidence:
                evidence = max(scores[concept])[1]
                chosen.append(PseudoLabel(record.image_id, concept, round(confidence, 4), evidence))
        return chosen or [PseudoLabel(record.image_id, "")]

    def _fields(self, record: ImageRecord) -> tuple[FieldEvidence, ...]:
        """Evidence of caption, file name, and all categories, each with its weight."""
        landmark, limit = record.landmark[:200], self.characters
        name = (record.filename or record.image_id).rstrip("/").rpartition("/")[2]
        stem = name.rpartition(".")[0] if "." in name[-6:] else name
        return (
            self._field(record.caption[:limit], landmark, self.caption_weight) if record.caption else NO_EVIDENCE,
            self._field(stem[:limit], landmark, self.filename_weight) if stem else NO_EVIDENCE,
            self._categories(record.categories[-16:], landmark) if record.categories else NO_EVIDENCE,
        )

    def _read_categories(self, categories: tuple[str, ...], landmark: str) -> FieldEvidence:
        """Evidence of the categories, from the last, the deepest, to the first."""
        weight, min_weight = self.category_weight, 0.3 * self.category_weight
        found: list[FieldEvidence] = []
        for category in reversed(categories):
            found.append(self._field(category[: self.characters], landmark, max(weight, min_weight)))
            weight -= self.category_step
        scores = tuple(score for field in found for score in field.scores)
        standpoints = frozenset().union(*[field.standpoints for field in found])
        return FieldEvidence(scores, standpoints) if scores or standpoints else NO_EVIDENCE

    def _read(self, text: str, landmark: str, weight: float) -> FieldEvidence:
        name = words(landmark) if landmark else ()
        skip = name if len(name) > 1 and find_mentions(landmark, self.vocabulary) else ()
        mentions = find_mentions(clean(text, self.characters), self.vocabulary, skip)
        if not mentions:
            return NO_EVIDENCE
        shown = {mention.concept for mention in mentions if mention.role in (SHOWN, ALSO, SETTING)}
        standpoints = frozenset(mention.concept for mention in mentions if mention.role == STANDPOINT) - shown
        scores = ((part, weight * value, text) for part, value, text in self._scores(mentions) if weight > 0)
        return FieldEvidence(tuple(scores), standpoints)

    def _scores(self, mentions: Sequence[Mention]) -> Iterator[tuple[str, float, str]]:
        """Part, score in (0, 1] and naming words of each part that one text mentions."""
        if (
            len(mentions) == 1
            and mentions[0].role == SHOWN
            and not mentions[0].segment
            and mentions[0].position <= LATE_FACTORS[-1][0]
        ):
            yield mentions[0].concept, 1.0, mentions[0].words  # most texts, handled fast
            return
        scores: dict[str, tuple[float, str]] = {}
        for mention in mentions:
            role = ROLE_WEIGHTS[mention.role]
            if mention.role == STANDPOINT and mention.concept in self.vocabulary.rooms:
                role = ROOM_STANDPOINT_WEIGHT
            value = role * max(SEGMENT_FACTOR**mention.segment, MIN_SEGMENT_FACTOR)
            value *= next((factor for after, factor in LATE_FACTORS if mention.position > after), 1.0)
            if value > scores.get(mention.concept, (0.0, ""))[0]:
                scores[mention.concept] = (value, mention.words)
        shown = {mention.concept for mention in mentions if mention.role in (SHOWN, ALSO)}
        covered = {whole for concept in shown for whole in self.vocabulary.wholes[concept]}
        for concept, (value, evidence) in scores.items():
            yield concept, value * (WHOLE_FACTOR if concept in covered else 1.0), evidence

    def _most_precise(self, concept: str, totals: dict[str, float]) -> str:
        """The special kind of `concept` with the highest score in any field, or `concept`."""
        kinds = [other for other in totals if concept in self.vocabulary.wider[other]]
        return max(kinds, key=totals.__getitem__) if kinds else concept


def _total(claims: Sequence[tuple[float, str]]) -> float:
    """The best score plus a share of the next ones; more repetition (a hundred categories) adds no evidence."""
    if len(claims) == 1:
        return claims[0][0]
    best, *others = _best(claims)
    return best + AGREEMENT_BONUS * sum(others)


def _best(claims: Sequence[tuple[float, str]]) -> list[float]:
    return sorted([value for value, _ in claims], reverse=True)[:MAX_FIELDS]


def _confidence(
    concept: str, scores: dict[str, list[tuple[float, str]]], totals: dict[str, float], vocabulary: Vocabulary
) -> float:
    """Confidence in [0, 1]: 1 - the product of the fields' doubts, reduced by the score of an unrelated rival part."""
    doubt = 1.0
    for value in _best(scores[concept]):
        doubt *= 1.0 - FIELD_CONFIDENCE * min(value, 1.0)
    wholes, rival = vocabulary.wholes[concept], 0.0
    for other, total in totals.items():
        if total > rival and other != concept and other not in wholes and concept not in vocabulary.wholes[other]:
            rival = total
    own = totals[concept]
    return (1.0 - doubt) * own / (own + 0.3 * rival)
