"""Text queries of words joined by AND, OR and NOT, such as "window AND NOT (rose window OR portal)".

    expression = conjunction { OR conjunction }      conjunction = negation { AND negation }
    negation = NOT negation | "(" expression ")" | words

The operators are upper-case: "church and square" is one word, which is one text prompt. Their values are those of fuzzy
sets (Zadeh, 1965): minimum, maximum, 1 - p. An expression is unknown where any of its words is unknown.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from halonerf.errors import BadInput

if TYPE_CHECKING:  # a plan parses queries, too, and needs no PyTorch
    from torch import Tensor

MAX_QUERY_CHARS = 500  # of an expression; a longer one was pasted by mistake
MAX_DEPTH = 30  # of nested parentheses and NOTs
OPERATORS = ("AND", "OR", "NOT", "(", ")")
ADVICE = 'Write it like: text="rose window", or text="window AND NOT rose window"'


@dataclass(frozen=True)
class Word:
    """A word, which is a text prompt for the segmenter."""

    text: str


@dataclass(frozen=True)
class Not:
    """The negation of an expression."""

    part: Expression


@dataclass(frozen=True)
class And:
    """The conjunction of expressions."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True)
class Or:
    """The disjunction of expressions."""

    parts: tuple[Expression, ...]


Expression = Word | Not | And | Or


@dataclass(frozen=True)
class _Token:
    text: str
    place: int  # of its first character in the normalised text


def parse(text: str) -> Expression:
    """Parse a query.

    Raises: BadInput for an empty or too long text, and for a syntax error, with its position.
    """
    normalised = normalise_query(text)
    if not normalised:
        raise BadInput(f"expected a text to look for, got {text[:MAX_QUERY_CHARS]!r}.\n{ADVICE}")
    if len(normalised) > MAX_QUERY_CHARS:
        raise BadInput(f"expected at most {MAX_QUERY_CHARS} characters to look for, got {len(normalised)}.\n{ADVICE}")
    parser = _Parser(normalised)
    expression = parser.disjunction(0)
    if parser.token is not None:
        raise parser.error("AND, OR or the end")
    return expression


def normalise_query(text: str) -> str:
    """`text` in composed Unicode (NFC); control characters and runs of spaces become one space."""
    plain = unicodedata.normalize("NFC", text)
    return " ".join("".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in plain).split())


def words(expression: Expression) -> list[str]:
    """The distinct words of an expression, in order of appearance."""
    return list(dict.fromkeys(_leaves(expression)))


def evaluate(
    expression: Expression, probability: Mapping[str, Tensor], confidence: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """Probability and confidence of an expression from those of its words, tensors of one shape.

    The confidence is the minimum over the words; where it is zero, so is the probability.
    """
    import torch

    lowest = torch.stack([confidence[word] for word in words(expression)]).amin(dim=0)
    return torch.where(lowest > 0, _value(expression, probability), 0.0), lowest


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


class _Parser:
    """Recursive descent over the tokens of a normalised text, with one token of look-ahead."""

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
        if depth > MAX_DEPTH:
            raise self.error(f"at most {MAX_DEPTH} nested parentheses and NOTs")
        if self.take("NOT"):
            return Not(self.negation(depth + 1))
        if self.take("("):
            inner = self.disjunction(depth + 1)
            if not self.take(")"):
                raise self.error("a closing parenthesis")
            return inner
        if self.token is None or self.token.text in OPERATORS:
            raise self.error("a word, NOT or an opening parenthesis")
        word = Word(self.token.text)
        self.token = next(self.tokens, None)
        return word

    def take(self, operator: str) -> bool:
        """Whether `operator` comes next; if so, consume it."""
        if self.token is None or self.token.text != operator:
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
    """Operators, parentheses, and words; a run of plain words is one word."""
    run: list[re.Match[str]] = []
    for match in re.finditer(r"[()]|[^\s()]+", text):
        if match.group() not in OPERATORS:
            run.append(match)
            continue
        if run:
            yield _Token(" ".join(m.group() for m in run), run[0].start())
            run = []
        yield _Token(match.group(), match.start())
    if run:
        yield _Token(" ".join(m.group() for m in run), run[0].start())


def given_texts(words: Any) -> list[str]:
    """A command-line value as a list of texts: None, one value, or a list; a number such as 1889 becomes its text."""
    return [str(word) for word in (words if isinstance(words, (list, tuple)) else [words]) if word is not None]


def required_texts(words: Any) -> list[str]:
    """The texts of a query. Raises: BadInput for None."""
    if words is None:
        raise BadInput('expected a text to look for.\nGive one with: halonerf stage=query text="rose window"')
    return given_texts(words)


def read_texts(text: str | Sequence[str], concepts: Collection[str] = ()) -> tuple[list[str], list[Expression]]:
    """The normalised texts and their expressions; a text that is one of the `concepts` is that word, as it stands.

    Raises: BadInput for no text, or a syntax error.
    """
    given = [text] if isinstance(text, str) else list(text)
    if not given:
        raise BadInput('expected a text to look for, got an empty list.\nGive one with: text="rose window"')
    expressions = [Word(str(entry)) if str(entry) in concepts else parse(str(entry)) for entry in given]
    texts = [
        e.text if isinstance(e, Word) else normalise_query(str(g)) for e, g in zip(expressions, given, strict=True)
    ]
    return texts, expressions
