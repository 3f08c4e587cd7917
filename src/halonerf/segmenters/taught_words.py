"""Which words a segmenter was taught, judged by spelling.

A text tower over letters maps every word near to some word that it was taught, whatever it means: by cosine, "arch"
is as near to a taught word as the plural of one is. Spelling tells them apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

MIN_SIMILARITY = 0.84  # of a misspelt or inflected word with one that was taught (difflib's ratio)
MIN_SUFFIX = 4  # letters of a taught word at the end of a compound, such as the German "kirchenfenster"
NEAREST = 3  # taught words that are named instead


class TaughtWords:
    """The words that a segmenter was taught, spelt as its text tower reads them.

    Args:
        words: in the order in which they are named to users.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self.words = list(dict.fromkeys(words))
        self._swapped = {"".join(sorted(word)) for word in self.words}

    def known(self, prompt: str) -> bool:
        """Whether a prompt is or contains a taught word, an inflected, misspelt or compound one; True without words."""
        tokens = prompt.split()
        contained = any(_contains(tokens, word.split()) for word in self.words)
        return not self.words or contained or any(self._near(part) for part in (prompt, *tokens))

    def nearest(self, prompt: str) -> list[str]:
        """Taught words that are spelt most like the prompt; the first ones where none is."""
        return get_close_matches(prompt, self.words, NEAREST, 0.6) or self.words[:NEAREST]

    def _near(self, spelt: str) -> bool:
        """Whether a taught word has nearly this spelling, or its letters in another order, or is its end."""
        return (
            bool(get_close_matches(spelt, self.words, 1, MIN_SIMILARITY))
            or "".join(sorted(spelt)) in self._swapped
            or any(spelt.endswith(word) and len(word) >= MIN_SUFFIX for word in self.words)
        )


def _contains(tokens: Sequence[str], part: Sequence[str]) -> bool:
    """Whether `part` occurs in `tokens`, unbroken."""
    return any(list(tokens[start : start + len(part)]) == list(part) for start in range(len(tokens) - len(part) + 1))
