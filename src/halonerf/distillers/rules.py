"""Labels from a multilingual gazetteer: no network, no weights, a few thousand records a second on one core.

Each field of a record (caption, file name, categories from the leaf up) is read for parts of a building. A part that
is shown counts more than one that tells where; a standpoint, a street named after a part, or something "near" it does
not count. Within a field a part beats what it is a part of (portal over facade); over all fields, the best-scored
part wins, and is made more precise where another field names a special kind of it (window -> stained glass).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath

from halonerf.distillers.inflection import words
from halonerf.distillers.mentions import ALSO, DENIED, SETTING, SHOWN, STANDPOINT, Mention, clean, find_mentions
from halonerf.distillers.vocabulary import Vocabulary
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


class Rules:
    """A `LabelDistiller` that looks words up."""

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
        self._mentions = lru_cache(maxsize=1 << 14)(self._read)  # categories repeat

    def distill(self, records: Sequence[ImageRecord]) -> list[PseudoLabel]:
        """The most likely parts of each record, best first, at most `labels`; one empty label where none is likely."""
        return [label for record in records for label in self._labels(record)]

    def broader(self, label: str) -> frozenset[str]:
        """All that `label` is a kind of; empty for a label that the vocabulary does not have."""
        return self.vocabulary.wider.get(label, frozenset())

    def _labels(self, record: ImageRecord) -> list[PseudoLabel]:
        fields = [(weight, mentions) for weight, mentions in self._fields(record) if mentions]
        standpoints = _standpoints([mentions for _, mentions in fields]) - self.vocabulary.rooms
        scores: dict[str, list[tuple[float, str]]] = {}
        for weight, mentions in fields:
            for concept, (value, evidence) in self._field_scores(mentions).items():
                if value > 0 and concept not in standpoints:
                    scores.setdefault(concept, []).append((weight * value, evidence))
        ranked = sorted(scores, key=lambda concept: -_total(scores[concept]))
        if ranked:
            ranked = [self._most_precise(ranked[0], scores), *ranked[1:]]
        chosen: list[PseudoLabel] = []
        for concept in dict.fromkeys(ranked):
            related = any(
                concept in self.vocabulary.wholes[label.label] or label.label in self.vocabulary.wholes[concept]
                for label in chosen
            )
            confidence = _confidence(concept, scores, self.vocabulary)
            if len(chosen) < self.labels and confidence >= self.least and not related:
                evidence = max(scores[concept])[1]
                chosen.append(PseudoLabel(record.image_id, concept, round(confidence, 4), evidence))
        return chosen or [PseudoLabel(record.image_id, "")]

    def _fields(self, record: ImageRecord) -> Iterator[tuple[float, tuple[Mention, ...]]]:
        """Weight and mentions of caption, file name, and categories from the last, the deepest, to the first."""
        landmark = record.landmark[:200]
        if record.caption:
            yield self.caption_weight, self._mentions(record.caption[: self.characters], landmark)
        name = PurePosixPath(record.filename or record.image_id).name
        stem = name.rsplit(".", 1)[0] if "." in name[-6:] else name
        if stem:
            yield self.filename_weight, self._mentions(stem[: self.characters], landmark)
        for depth, category in enumerate(reversed(record.categories[-16:])):
            weight = max(self.category_weight - self.category_step * depth, 0.3 * self.category_weight)
            yield weight, self._mentions(category[: self.characters], landmark)

    def _read(self, text: str, landmark: str) -> tuple[Mention, ...]:
        name = words(landmark) if landmark else ()
        skip = name if len(name) > 1 and find_mentions(landmark, self.vocabulary) else ()
        return find_mentions(clean(text, self.characters), self.vocabulary, skip)

    def _field_scores(self, mentions: Sequence[Mention]) -> dict[str, tuple[float, str]]:
        """Score in [0, 1] and evidence of each part that one field names."""
        scores: dict[str, tuple[float, str]] = {}
        for mention in mentions:
            role = ROLES[mention.role]
            if mention.role == STANDPOINT and mention.concept in self.vocabulary.rooms:
                role = ROOM_STANDPOINT
            value = role * max(SEGMENT**mention.segment, LEAST_SEGMENT)
            value *= next((factor for after, factor in LATE if mention.position > after), 1.0)
            if value > scores.get(mention.concept, (-1.0, ""))[0]:
                scores[mention.concept] = (value, mention.words)
        plain = {mention.concept for mention in mentions if mention.role in (SHOWN, ALSO)}
        covered = {whole for concept in plain for whole in self.vocabulary.wholes[concept]}
        return {
            concept: (value * (WHOLE if concept in covered else 1.0), evidence)
            for concept, (value, evidence) in scores.items()
        }

    def _most_precise(self, concept: str, scores: dict[str, list[tuple[float, str]]]) -> str:
        """The best-scored special kind of `concept` that any field names, or `concept`."""
        kinds = [other for other in scores if concept in self.vocabulary.wider[other]]
        return max(kinds, key=lambda kind: _total(scores[kind]), default=concept)


def _total(claims: Sequence[tuple[float, str]]) -> float:
    """The best claim, and a little for the next ones; repetition beyond that (a hundred categories) says no more."""
    best, *others = _best(claims)
    return best + AGREEMENT * sum(others)


def _best(claims: Sequence[tuple[float, str]]) -> list[float]:
    return sorted((value for value, _ in claims), reverse=True)[:CLAIMS]


def _confidence(concept: str, scores: dict[str, list[tuple[float, str]]], vocabulary: Vocabulary) -> float:
    """1 - the product of each field's doubt, less where another, unrelated part is named too. In [0, 1]."""
    doubt = 1.0
    for value in _best(scores[concept]):
        doubt *= 1.0 - CERTAINTY * min(value, 1.0)
    wholes = vocabulary.wholes[concept]
    rivals = [_total(claims) for other, claims in scores.items() if other != concept and other not in wholes
              and concept not in vocabulary.wholes[other]]  # fmt: skip
    own = _total(scores[concept])
    return (1.0 - doubt) * own / (own + 0.3 * max(rivals, default=0.0))


def _standpoints(fields: Sequence[Sequence[Mention]]) -> set[str]:
    """Parts that some field says the photo was taken from and that the same field does not show as well."""
    found: set[str] = set()
    for mentions in fields:
        shown = {mention.concept for mention in mentions if mention.role in (SHOWN, ALSO, SETTING)}
        found |= {mention.concept for mention in mentions if mention.role == STANDPOINT} - shown
    return found
