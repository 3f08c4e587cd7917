"""Colours of concepts: one colour per position in a scene's list of concepts, the same in every output."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

Colour = tuple[int, int, int]  # red, green, blue in 0..255

# Okabe and Ito (2008) without black, then colours chosen to be far from these. Any two are at least 16 apart in CIELAB,
# with normal vision and with simulated protanopia, deuteranopia and tritanopia (Machado et al. 2009).
COLOURS: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (240, 228, 66),
    (0, 158, 115),
    (213, 94, 0),
    (204, 121, 167),
    (0, 114, 178),
    (150, 75, 255),
    (195, 240, 195),
    (225, 0, 75),
    (150, 135, 255),
    (105, 255, 135),
)
HUE_STEP = 0.618034  # of the colour wheel between generated colours: the golden ratio spreads any number of hues evenly
LIGHTNESS = (0.75, 0.45, 0.6)  # of generated colours in turn, in HLS
SATURATION = 0.75


def palette_colour(number: int) -> Colour:
    """The colour of position `number` >= 0: from `COLOURS`, then generated ones without end."""
    if number < len(COLOURS):
        return COLOURS[number]
    lightness = LIGHTNESS[number % len(LIGHTNESS)]
    red, green, blue = colorsys.hls_to_rgb(number * HUE_STEP % 1.0, lightness, SATURATION)
    return round(255 * red), round(255 * green), round(255 * blue)


def concept_colours(texts: Sequence[str], concepts: Sequence[str]) -> dict[str, Colour]:
    """The colour of each text: a concept's by its position in `concepts`, other texts' by the positions after these.

    Args:
        texts: concepts and other text prompts, in the order in which the latter get their colours.
        concepts: all of the scene's, in the order of `concepts.json`.
    """
    position = {concept: number for number, concept in enumerate(concepts)}
    for text in texts:
        position.setdefault(text, len(position))
    return {text: palette_colour(position[text]) for text in texts}


def hex_colour(colour: Colour) -> str:
    """The colour as HTML and matplotlib write it: "#rrggbb"."""
    return "#{:02x}{:02x}{:02x}".format(*colour)
