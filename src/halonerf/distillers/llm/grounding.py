"""Whether a record says what a model says that it says."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from halonerf.distillers.gazetteer.inflection import word_forms, words
from halonerf.distillers.gazetteer.mentions import DENIED, find_mentions
from halonerf.distillers.gazetteer.vocabulary import Vocabulary
from halonerf.distillers.llm.answers import Claim
from halonerf.distillers.llm.prompts import Fields

LONGEST = 120  # characters of evidence that are kept
ORDER = 4  # words of the longest phrase that is looked for as an order


@dataclass(frozen=True, slots=True)
class GroundingResult:
    """evidence: words of the record, as they stand there; "" where none say so. grounded: whether any do.

    ordered: the record speaks to the model ("ignore previous …"), so that a quotation from it proves nothing.
    """

    evidence: str
    grounded: bool
    ordered: bool = False


def ground_claim(claim: Claim, concept: str, fields: Fields, vocabulary: Vocabulary) -> GroundingResult:
    """Look a claim up in what its record told the model.

    A part that the vocabulary finds in the record, in any of its languages, is evidence; so are the label's own words;
    so is the model's quotation, if it stands there letter by letter (case and blanks apart) and the record gives no
    orders. A street that is named after a part, or a part that is only near, is none.

    Args:
        claim: what the model said. concept: the label that was made of it.
    """
    kinds = {concept, *(name for name, wider in vocabulary.wider.items() if concept in wider)}
    ordered = False
    for text in fields.told:
        ordered = ordered or gives_orders(text, vocabulary)
        mention = next((m for m in find_mentions(text, vocabulary) if m.concept in kinds and m.role != DENIED), None)
        if mention:
            return GroundingResult(mention.words[:LONGEST], True, ordered)
    if ordered:
        return GroundingResult("", False, True)
    for text in fields.told:
        literal = _literal(claim.label, text) if concept not in vocabulary.wider else ""
        quotation = literal or _quoted(claim.evidence, text)
        if quotation:
            return GroundingResult(quotation[:LONGEST], True)
    return GroundingResult("", False)


def gives_orders(text: str, vocabulary: Vocabulary) -> bool:
    """Whether a text holds a phrase that people use to give models orders."""
    folded = words(text)
    runs = (folded[start : start + length] for start in range(len(folded)) for length in range(1, ORDER + 1))
    return any(entry.kind == "instruction" for entry in map(vocabulary.entry, runs) if entry)


def _literal(label: str, text: str) -> str:
    """The words of `label`, the last in singular or plural, if they follow each other in `text`."""
    wanted, told = words(label), words(text)
    if not wanted:
        return ""
    last = word_forms(wanted[-1], "en")
    for start in range(len(told) - len(wanted) + 1):
        run = told[start : start + len(wanted)]
        if run[:-1] == wanted[:-1] and run[-1] in last:
            return " ".join(run)
    return ""


def _quoted(quotation: str, text: str) -> str:
    """The stretch of `text` that `quotation` copies; "" for one of fewer than three letters, or none."""
    wanted = " ".join(unicodedata.normalize("NFC", quotation).split())
    if sum(c.isalnum() for c in wanted) < 3:
        return ""
    lowered = text.casefold()
    start = lowered.find(wanted.casefold())
    if start < 0:
        return ""
    # casefold may change lengths (ß -> ss): the stretch is given as it stands only where it does not
    return text[start : start + len(wanted)] if len(lowered) == len(text) else wanted
