"""Whatever a model says of whatever record: labels of the right form, and never an exception."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import pytest

from halonerf.distillers.gazetteer.normalise import MAX_LABEL_CHARS
from halonerf.distillers.llm.answer_cache import Reply
from halonerf.distillers.llm.base import LanguageDistiller
from halonerf.distillers.llm.prompts import Messages
from helpers.made_records import made_records

WHOLE = '{"labels": [{"label": "portal", "confidence": 0.9, "evidence": "Westportal"}], "language": "de"}'


class Babbler(LanguageDistiller):
    """Says pieces of JSON, of labels and of nonsense in any order."""

    PIECES = (
        "{", "}", "[", "]", '"labels"', ":", ",", '"label"', '"portal"', "0.5", '"confidence"', '"evidence"', "NaN",
        "-1", "1e999", "null", "\\ud800", "\ud800", "\x00", "unknown", "north ", "West", "portal", "<think>",
        "</think>", "\n", "```", "“", "é", "İ", "ß", WHOLE,
    )  # fmt: skip

    def query(self, prompts: Sequence[Messages]) -> Iterator[tuple[int, Reply]]:
        chance = random.Random(1)
        for place in range(len(prompts)):
            text = "".join(chance.choice(self.PIECES) for _ in range(chance.randrange(40)))
            yield place, Reply(text, 1, 1, chance.random())


@pytest.mark.parametrize("form", ["json", "plain", "paper"])
def test_random_answers_to_random_records_give_valid_labels(form: str):
    one = Babbler("babbler", {}, "short", form, 1 if form == "paper" else 3, False, None, None, 0.5, 0.0, 300, None)
    records = made_records(400)
    labels = one.distill(records)
    assert list(dict.fromkeys(label.image_id for label in labels)) == [record.image_id for record in records]
    assert any(label.label for label in labels)
    for label in labels:
        assert 0.0 <= label.confidence <= 1.0
        assert (label.label == "") == (label.confidence == 0.0)
        assert label.label.isprintable()
        assert label.evidence.isprintable()
        assert len(label.label) <= MAX_LABEL_CHARS
        assert len(label.evidence) <= 120
