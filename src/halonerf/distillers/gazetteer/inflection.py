"""Inflected forms of vocabulary words, without case and accents.

Real morphology needs a dictionary per language. Here a word gets all endings that nouns of its language may have,
correct or not; a form that does not exist is harmless, as no text contains it.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import product

# Letters that Unicode does not decompose, and those with two spellings.
_UNDECOMPOSED = str.maketrans(
    {"ł": "l", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "ß": "ss", "æ": "ae", "œ": "oe", "ı": "i", "ħ": "h"}
)
_SPELT_OUT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})
_TOKEN = re.compile(r"[^\W\d_]+|\d+")

_SIBILANT = ("s", "x", "z", "ch", "sh")
_GERMAN = ("", "s", "es", "e", "en", "n", "er", "ern", "se")
_DUTCH = ("", "s", "en", "n", "e", "'s", "je", "jes")
_SLAVIC = {
    "pl": ("a", "i", "y", "e", "o", "u", "ie", "om", "ami", "ach", "em", "owi", "ow", "iem", "zie", ""),
    "ru": ("", "а", "я", "ы", "и", "е", "у", "ю", "ои", "еи", "ом", "ем", "ов", "ам", "ами", "ах", "ь", "ью", "ии"),
}
_TURKISH_STEMS = ("", "lar", "ler")
_TURKISH = (
    "", "i", "u", "si", "su", "in", "un", "nin", "nun", "sinin", "sunun", "inin", "a", "e", "ya", "ye", "na", "ne",
    "sina", "sine", "da", "de", "ta", "te", "sinda", "sinde", "inda", "inde", "unda", "unde", "yi", "yu", "ini", "sini",
)  # fmt: skip
_TURKISH_FROM = ("dan", "den", "tan", "ten", "sindan", "sinden", "indan", "inden", "undan", "unden", "sundan")


@lru_cache(maxsize=1 << 16)
def fold(word: str) -> str:
    """`word` without case, accents and typographic variants."""
    lowered = word.replace("İ", "i").casefold().translate(_UNDECOMPOSED)
    if lowered.isascii():
        return lowered
    return "".join(c for c in unicodedata.normalize("NFKD", lowered) if not unicodedata.combining(c))


def words(text: str) -> tuple[str, ...]:
    """The folded words and numbers of a text."""
    return tuple(fold(token) for token in _TOKEN.findall(unicodedata.normalize("NFC", text)))


def forms(phrase: str, language: str) -> set[tuple[str, ...]]:
    """Possible forms of `phrase` in `language` (two letters), each as folded words."""
    spellings = {words(phrase)}
    if language in ("de", "tr", "nl"):
        spellings.add(words(unicodedata.normalize("NFC", phrase).casefold().translate(_SPELT_OUT)))
    found: set[tuple[str, ...]] = set()
    for spelling in spellings:
        if language in ("en", "tr"):  # the last word is the noun
            found |= {(*spelling[:-1], form) for form in word_forms(spelling[-1], language)}
        else:  # every word but the short ones agrees
            options = [word_forms(word, language) if len(word) > 3 else {word} for word in spelling]
            found |= (
                set(product(*options))
                if len(options) <= 2
                else {spelling} | set(product(options[0], *[[word] for word in spelling[1:]]))
            )
        if language == "ar":
            found |= {(article + spelling[0], *spelling[1:]) for article in ("al", "el")}
    return found


def word_forms(word: str, language: str) -> set[str]:
    """Forms of one folded word: plurals, and cases where the language has them; includes the word itself."""
    if language == "en":
        plural = word[:-1] + "ies" if word.endswith("y") else word + ("es" if word.endswith(_SIBILANT) else "s")
        return {word, plural}
    if language == "fr":
        return {word, word + "s", word + "x"} | ({word[:-2] + "aux"} if word.endswith(("al", "au")) else set())
    if language == "it":
        return {word} | _italian(word)
    if len(word) < 4 and language in ("pl", "ru", "tr", "ar"):
        return {word}  # that many endings on so few letters would match words of other languages
    if language in ("es", "pt", "ca"):
        return {word} | _iberian(word)
    if language == "de":
        return {word + ending for ending in _GERMAN}
    if language == "nl":
        return {word + ending for ending in _DUTCH}
    if language in _SLAVIC:
        stem = word[:-1] if word[-1] in "aeioyuаеиоуыяюь" else word
        return {word} | {stem + ending for ending in _SLAVIC[language]} | {word + e for e in _SLAVIC[language]}
    if language == "tr":
        return {word + plural + ending for plural in _TURKISH_STEMS for ending in _TURKISH}
    return {word, word + "s", word + "at"}


def turkish_from(phrase: str) -> set[tuple[str, ...]]:
    """Ablative forms of a Turkish phrase ("from the tower"), which name the standpoint, not the subject."""
    spelling = words(phrase)
    return {(*spelling[:-1], spelling[-1] + plural + ending) for plural in _TURKISH_STEMS for ending in _TURKISH_FROM}


def _italian(word: str) -> set[str]:
    stem, last = word[:-1], word[-1]
    if last == "o":
        return {stem if stem.endswith("i") else stem + "i", stem + "hi"}
    if last == "a":
        return {stem + "e", stem + "he"}
    return {stem + "i"} if last == "e" else set()


def _iberian(word: str) -> set[str]:
    plurals = {word + "s", word + "es", word + "os"}
    if word.endswith("a"):
        plurals.add(word[:-1] + "es")  # Catalan
    if word.endswith("l"):
        plurals |= {word[:-1] + "is", word[:-2] + "eis"}  # Portuguese
    if word.endswith("ao"):
        plurals |= {word[:-2] + "oes", word[:-2] + "aos"}
    if word.endswith("m"):
        plurals.add(word[:-1] + "ns")
    if word.endswith("z"):
        plurals.add(word[:-1] + "ces")
    if word[-1] in "aeiou":
        plurals.add(word + "ns")  # Catalan, "absis" apart: "balco", "balcons"
    return plurals
