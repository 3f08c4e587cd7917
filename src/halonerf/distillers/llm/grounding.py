"""Grounding of a model's claims: whether the record contains evidence for them."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from halonerf.distillers.gazetteer.inflection import word_forms, words
from halonerf.distillers.gazetteer.mentions import DENIED, find_mentions
from halonerf.distillers.gazetteer.vocabulary import Vocabulary
from halonerf.distillers.llm.answers import Claim
from halonerf.distillers.llm.prompts import Fields

MAX_EVIDENCE_CHARS = 120
MAX_INSTRUCTION_WORDS = 4  # of the phrases that are searched for as instructions


@dataclass(frozen=True, slots=True)
class GroundingResult:
    """Evidence for a claim.

    evidence: the record's words, verbatim; "" where there is none. grounded: whether there is any.
    has_instructions: the record addresses the model ("ignore previous …"), so that a quotation from it proves nothing.
    """

    evidence: str
    grounded: bool
    has_instructions: bool = False


def ground_claim(claim: Claim, concept: str, fields: Fields, vocabulary: Vocabulary) -> GroundingResult:
    """Search the fields of a record for evidence of a claim.

    Evidence is a mention of the part in any of the vocabulary's languages; or the label's words; or the model's
    quotation, if the record contains it verbatim (up to case and white space) and no instructions. A street that is
    named after a part, or a part that is only near, is no evidence.

    Args:
        claim: of the model. concept: its label in the vocabulary.
    """
    kinds = {concept, *(name for name, wider in vocabulary.wider.items() if concept in wider)}
    has_instructions = False
    for text in fields.texts:
        has_instructions = has_instructions or contains_instructions(text, vocabulary)
        mention = next((m for m in find_mentions(text, vocabulary) if m.concept in kinds and m.role != DENIED), None)
        if mention:
            return GroundingResult(mention.words[:MAX_EVIDENCE_CHARS], True, has_instructions)
    if has_instructions:
        return GroundingResult("", False, True)
    for text in fields.texts:
        literal = _verbatim_label(claim.label, text) if concept not in vocabulary.wider else ""
        quotation = literal or _verbatim_quotation(claim.evidence, text)
        if quotation:
            return GroundingResult(quotation[:MAX_EVIDENCE_CHARS], True)
    return GroundingResult("", False)


def contains_instructions(text: str, vocabulary: Vocabulary) -> bool:
    """Whether a text contains a phrase that is used to instruct models."""
    folded = words(text)
    runs = (
        folded[start : start + length] for start in range(len(folded)) for length in range(1, MAX_INSTRUCTION_WORDS + 1)
    )
    return any(entry.kind == "instruction" for entry in map(vocabulary.entry, runs) if entry)


def _verbatim_label(label: str, text: str) -> str:
    """The words of `label`, the last in singular or plural, if `text` contains them in sequence; else ""."""
    wanted, folded = words(label), words(text)
    if not wanted:
        return ""
    last = word_forms(wanted[-1], "en")
    for start in range(len(folded) - len(wanted) + 1):
        run = folded[start : start + len(wanted)]
        if run[:-1] == wanted[:-1] and run[-1] in last:
            return " ".join(run)
    return ""


def _verbatim_quotation(quotation: str, text: str) -> str:
    """The part of `text` that `quotation` copies; "" where there is none, or it has fewer than three letters."""
    wanted = " ".join(unicodedata.normalize("NFC", quotation).split())
    if sum(c.isalnum() for c in wanted) < 3:
        return ""
    lowered = text.casefold()
    start = lowered.find(wanted.casefold())
    if start < 0:
        return ""
    # casefold may change lengths (ß -> ss): then the quotation is returned as the model gave it
    return text[start : start + len(wanted)] if len(lowered) == len(text) else wanted
