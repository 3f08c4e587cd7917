"""Which words a segmenter was taught, judged by spelling.

A text tower over letters maps every word near to some word that it was taught, whatever it means: by cosine, "arch"
is as near to a taught word as the plural of one is. Spelling tells them apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

MIN_SIMILARITY = 0.86  # of a misspelt or inflected word with a taught one (difflib's ratio)
MIN_LETTERS = 6  # of taught words whose misspellings are known; shorter ones are too like other words
ENDINGS = ("s", "es", "n", "en", "e", "er", "x")  # of plurals
MIN_PART = 4  # letters of both parts of a compound that ends in a taught word, such as the German "kirchenfenster"
NEAREST = 3  # taught words that are named instead


class TaughtWords:
    """The words that a segmenter was taught, spelt as its text tower reads them.

    Args:
        words: in the order in which they are named to users.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self.words = list(dict.fromkeys(words))
        self._long = [word for word in self.words if len(word) >= MIN_LETTERS]
        self._forms = {form for word in self.words for form in (*_plurals(word), word, *_swaps(word))}

    def known(self, prompt: str) -> bool:
        """Whether a prompt has a taught word in it, its plural, a misspelling or a compound; True without words."""
        tokens = prompt.split()
        contained = any(_contains(tokens, word.split()) for word in self.words)
        return not self.words or contained or any(self._near(part) for part in (prompt, *tokens))

    def nearest(self, prompt: str) -> list[str]:
        """At most `NEAREST` taught words that are spelt like the prompt; there may be none."""
        return get_close_matches(prompt, self.words, NEAREST, 0.6)

    def _near(self, spelt: str) -> bool:
        """Whether this is a form of a taught word, nearly a long one, or a compound that ends in one."""
        return (
            spelt in self._forms
            or bool(get_close_matches(spelt, self._long, 1, MIN_SIMILARITY))
            or any(spelt.endswith(word) and min(len(word), len(spelt) - len(word)) >= MIN_PART for word in self.words)
        )


def _plurals(word: str) -> list[str]:
    """Regular plurals in several languages."""
    return [*(word + ending for ending in ENDINGS), *([word[:-1] + "ies"] if word.endswith("y") else [])]


def _swaps(word: str) -> list[str]:
    """The word with two neighbouring letters swapped, for words of `MIN_LETTERS` or more."""
    places = range(len(word) - 1) if len(word) >= MIN_LETTERS else ()
    return [word[:k] + word[k + 1] + word[k] + word[k + 2 :] for k in places]


def _contains(tokens: Sequence[str], part: Sequence[str]) -> bool:
    """Whether `part` occurs in `tokens`, unbroken."""
    return any(list(tokens[start : start + len(part)]) == list(part) for start in range(len(tokens) - len(part) + 1))
