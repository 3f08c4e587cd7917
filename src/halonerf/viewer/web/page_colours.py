"""The colours of the page, for pictures that the field renders: as `colours.js` colours the Gaussians."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from halonerf.visualization.palette import Colour
from halonerf.visualization.pictures import luminance

Array = NDArray[np.float32]

GREY_WEIGHTS = (0.3, 0.59, 0.11)
PALE_GREY, PALE_COLOUR = (0.42, 0.42, 0.44), 0.1  # of what no word lights up: shares of its grey and of its colour
SOFT_SHARE = 0.16  # of a threshold: half the width of a highlight's edge
SOFT_MOST = 0.08  # of probability: half the width of an edge at most
CONFIDENCE = ((18, 50, 58), (38, 132, 128), (238, 244, 196))  # from low to high
UNKNOWN = (104, 82, 150)


@dataclass(frozen=True)
class LitWord:
    """How a word is highlighted. strength: opacity of its colour. threshold: probability in the middle of its edge."""

    colour: Colour
    strength: float
    threshold: float


def with_words(colour: Array, probability: Array, words: Sequence[LitWord]) -> Array:
    """Colours with words lit up and the rest pale, [..., 3] in [0, 1]; `colour` itself without words.

    Args:
        colour: [..., 3] in [0, 1]. probability: of each word, [..., Q] in [0, 1], 0 where nothing is known.
    """
    if not words:
        return colour
    grey = luminance(colour, GREY_WEIGHTS)[..., None]
    shown = grey * np.array(PALE_GREY, np.float32) + PALE_COLOUR * colour
    for number, word in enumerate(words):
        soft = float(np.clip(SOFT_SHARE * word.threshold, 1e-6, SOFT_MOST))
        inside = np.clip((probability[..., number : number + 1] - word.threshold + soft) / (2 * soft), 0, 1)
        lit = np.minimum(1.0, _shaded(word.colour, grey))
        shown = shown + word.strength * inside * (lit - shown)
    return shown


def with_confidence(colour: Array, level: Array, known: Array) -> Array:
    """Colours of a word's confidence with the surface's shading, [..., 3] in [0, 1].

    Args:
        colour: [..., 3] in [0, 1]. level: confidence, [...] in [0, 1], one half at the median. known: [...] in [0, 1],
            the share of which anything is known.
    """
    grey = luminance(colour, GREY_WEIGHTS)[..., None]
    stops = np.linspace(0, 1, len(CONFIDENCE))
    ramp = np.stack([np.interp(level, stops, channel) for channel in zip(*CONFIDENCE, strict=True)], axis=-1)
    mixed = np.array(UNKNOWN) + (ramp - np.array(UNKNOWN)) * known[..., None]
    return np.minimum(1.0, _shaded(mixed.astype(np.float32), grey))


def _shaded(colour: Array | Colour, grey: Array) -> Array:
    """A colour in 0..255 with the shading of a surface of brightness `grey`, in [0, 1] and above."""
    return np.asarray(colour, np.float32) / 255 * (0.55 + 0.55 * grey)
