"""Words joined by AND, OR and NOT: "window AND NOT (rose window OR portal)", and what they mean where each is known.

    expression = conjunction { OR conjunction }      conjunction = negation { AND negation }
    negation = NOT negation | "(" expression ")" | words

The operators are upper-case: "church and square" is one word. Their values are those of fuzzy sets (Zadeh, 1965):
the smaller, the larger, 1 - p. What depends on something unknown is unknown.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from halonerf.errors import BadInput

if TYPE_CHECKING:  # a plan reads expressions, too, and needs no PyTorch
    from torch import Tensor

LONGEST = 500  # characters of an expression; a longer one is a paste by mistake
DEEPEST = 30  # parentheses and NOTs within each other
JOINTS = ("AND", "OR", "NOT", "(", ")")
ADVICE = 'Write it like: text="rose window", or text="window AND NOT rose window"'


@dataclass(frozen=True)
class Word:
    """Something to look for: what the segmenter is asked."""

    text: str


@dataclass(frozen=True)
class Not:
    """What something is not."""

    part: Expression


@dataclass(frozen=True)
class And:
    """All of these at once."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True)
class Or:
    """Any of these."""

    parts: tuple[Expression, ...]


Expression = Word | Not | And | Or


@dataclass(frozen=True)
class _Token:
    text: str
    place: int  # in the tidied text


def parse(text: str) -> Expression:
    """The expression that `text` spells.

    Raises: BadInput for an empty or endless text, and where it is no expression, with the place.
    """
    plain = normalise_query(text)
    if not plain:
        raise BadInput(f"expected something to look for, got {text[:LONGEST]!r}.\n{ADVICE}")
    if len(plain) > LONGEST:
        raise BadInput(f"expected at most {LONGEST} characters to look for, got {len(plain)}.\n{ADVICE}")
    found = _Reader(plain)
    expression = found.disjunction(0)
    if found.token is not None:
        raise found.error("AND, OR or the end")
    return expression


def normalise_query(text: str) -> str:
    """`text` in composed Unicode; control characters, and any run of spaces, become one space."""
    plain = unicodedata.normalize("NFC", text)
    return " ".join("".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in plain).split())


def words(expression: Expression) -> list[str]:
    """What has to be looked for, each once, in the order in which it is written."""
    return list(dict.fromkeys(_leaves(expression)))


def evaluate(
    expression: Expression, probability: Mapping[str, Tensor], confidence: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """Probability and confidence of an expression from those of its words, all of one shape.

    The confidence is that of the least known word; where it is zero, so is the probability.
    """
    import torch

    least = torch.stack([confidence[word] for word in words(expression)]).amin(dim=0)
    return torch.where(least > 0, _value(expression, probability), 0.0), least


def _value(expression: Expression, probability: Mapping[str, Tensor]) -> Tensor:
    if isinstance(expression, Word):
        return probability[expression.text]
    if isinstance(expression, Not):
        return 1 - _value(expression.part, probability)
    import torch

    values = torch.stack([_value(part, probability) for part in expression.parts])
    return values.amin(dim=0) if isinstance(expression, And) else values.amax(dim=0)


def _leaves(expression: Expression) -> Iterator[str]:
    if isinstance(expression, Word):
        yield expression.text
    else:
        for part in (expression.part,) if isinstance(expression, Not) else expression.parts:
            yield from _leaves(part)


class _Reader:
    """Walks the tokens of a tidied text, one ahead."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = _tokens(text)
        self.token = next(self.tokens, None)

    def disjunction(self, depth: int) -> Expression:
        parts = [self.conjunction(depth)]
        while self.take("OR"):
            parts.append(self.conjunction(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def conjunction(self, depth: int) -> Expression:
        parts = [self.negation(depth)]
        while self.take("AND"):
            parts.append(self.negation(depth))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def negation(self, depth: int) -> Expression:
        if depth > DEEPEST:
            raise self.error(f"at most {DEEPEST} parentheses and NOTs within each other")
        if self.take("NOT"):
            return Not(self.negation(depth + 1))
        if self.take("("):
            inner = self.disjunction(depth + 1)
            if not self.take(")"):
                raise self.error("a closing parenthesis")
            return inner
        if self.token is None or self.token.text in JOINTS:
            raise self.error("a word, NOT or an opening parenthesis")
        word = Word(self.token.text)
        self.token = next(self.tokens, None)
        return word

    def take(self, joint: str) -> bool:
        """Whether that joint comes next; if so, go past it."""
        if self.token is None or self.token.text != joint:
            return False
        self.token = next(self.tokens, None)
        return True

    def error(self, expected: str) -> BadInput:
        place = len(self.text) if self.token is None else self.token.place
        got = "the end" if self.token is None else f"'{self.token.text}'"
        return BadInput(
            f"expected {expected} at character {place + 1}, got {got}:\n  {self.text}\n  {' ' * place}^\n{ADVICE}"
        )


def _tokens(text: str) -> Iterator[_Token]:
    """Operators, parentheses, and the words between them, each run of which is one."""
    run: list[re.Match[str]] = []
    for match in re.finditer(r"[()]|[^\s()]+", text):
        if match.group() not in JOINTS:
            run.append(match)
            continue
        if run:
            yield _Token(" ".join(m.group() for m in run), run[0].start())
            run = []
        yield _Token(match.group(), match.start())
    if run:
        yield _Token(" ".join(m.group() for m in run), run[0].start())


def given_texts(words: Any) -> list[str]:
    """Texts as the command line has them: none, one, or several; 1889 is a number there."""
    return [str(word) for word in (words if isinstance(words, (list, tuple)) else [words]) if word is not None]


def read_texts(text: str | Sequence[str]) -> tuple[list[str], list[Expression]]:
    """The texts, tidied, and what they mean. Raises: BadInput where there is none, or one is no expression."""
    given = [text] if isinstance(text, str) else list(text)
    if not given:
        raise BadInput('expected something to look for, got an empty list.\nSay what with: text="rose window"')
    expressions = [parse(str(entry)) for entry in given]
    texts = [
        e.text if isinstance(e, Word) else normalise_query(str(g)) for e, g in zip(expressions, given, strict=True)
    ]
    return texts, expressions
