"""How words look on a picture: each in a tint of its own where it is, and a legend that says which is which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from halonerf.visualization.pictures import heat

# Eight hues that differ for most kinds of colour blindness, too (after Okabe and Ito 2008, without black and grey).
TINTS = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (213, 94, 0),
    (204, 121, 167),
    (0, 114, 178),
    (150, 230, 120),
)
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # BT.601
SOFT = 0.06  # of probability, around the threshold: edges that do not flicker from frame to frame
LETTER = 28  # letters are the picture's height divided by this high, and no smaller than LEAST px
LEAST = 10


def highlight(
    colour: np.ndarray,
    probability: np.ndarray,
    opacity: Sequence[float],
    threshold: float,
    tints: Sequence[tuple[int, int, int]],
) -> np.ndarray:
    """Colours with words lit: each in its tint where it is at least as probable as `threshold`, the rest paler.

    Args:
        colour: [..., 3] in [0, 1]. probability: [..., Q]; what is unknown is 0 there.
        opacity: of each word, in [0, 1]; where words overlap, their tints mix.
        tints: of each word, red, green and blue from 0 to 255.
    Returns: [..., 3] in [0, 1].
    """
    if not len(opacity) or max(opacity) <= 0:
        return colour
    luma = (colour @ LUMA)[..., None]
    table = np.array(tints, np.float32) / 255
    strength = np.array(opacity, np.float32)
    soft = np.clip((probability - threshold) / SOFT + 0.5, 0.0, 1.0).astype(np.float32)
    weight = soft * strength
    total = np.maximum(weight.sum(axis=-1, keepdims=True), 1e-6)
    lit = (weight @ table) / total * (0.5 + 0.5 * luma)  # the stone's own shading stays visible
    paler = colour + (0.375 * luma - 0.5 * colour) * strength.max()
    amount = (weight * strength).sum(axis=-1, keepdims=True) / total
    where = soft[..., strength > 0].max(axis=-1, keepdims=True)
    return paler + ((colour + (lit - colour) * amount) - paler) * where


def concept_tint(number: int) -> tuple[int, int, int]:
    """The tint of the word of this number."""
    return TINTS[number % len(TINTS)]


def legend(picture: np.ndarray, words: Mapping[str, tuple[int, float]]) -> np.ndarray:
    """The picture, uint8 [H, W, 3], with the names of words at its lower left. words: tint and opacity of each."""
    shown = [(word, *how) for word, how in words.items() if how[1] > 0]
    if not shown:
        return picture
    height, width = picture.shape[:2]
    size = max(LEAST, height // LETTER)
    line, edge = round(1.5 * size), size // 2
    drawn = Image.fromarray(picture).convert("RGBA")
    layer = Image.new("RGBA", drawn.size)
    pen, font = ImageDraw.Draw(layer), _font(size)
    most = max(1, (height - 2 * edge) // line)
    for row, (word, tint, opacity) in enumerate(reversed(shown[:most])):
        text, top = _fitting(word, font, width - 5 * edge - size), height - edge - (row + 1) * line
        alpha = round(255 * min(1.0, opacity / max(how[2] for how in shown)))
        wide = font.getlength(text)
        pen.rectangle((edge, top, 4 * edge + size + wide, top + line - 2), fill=(0, 0, 0, alpha // 2))
        box = (2 * edge, top + line // 2 - size // 2, 2 * edge + size, top + line // 2 + size // 2)
        pen.rectangle(box, fill=(*TINTS[tint % len(TINTS)], alpha))
        pen.text((3 * edge + size, top + line // 2), text, font=font, fill=(255, 255, 255, alpha), anchor="lm")
    return np.asarray(Image.alpha_composite(drawn, layer).convert("RGB"))


def caption(picture: np.ndarray, left: str, right: str) -> np.ndarray:
    """The picture with a text in its upper left corner and one in its upper right."""
    height, width = picture.shape[:2]
    size = max(LEAST, height // LETTER)
    edge, font = size // 2, _font(size)
    drawn = Image.fromarray(picture)
    pen = ImageDraw.Draw(drawn)
    for text, place, anchor in ((left, edge, "lt"), (right, width - edge, "rt")):
        fitted = _fitting(text, font, width / 2 - 2 * edge)
        pen.text((place, edge), fitted, font=font, fill="white", anchor=anchor, stroke_width=2, stroke_fill="black")
    return np.asarray(drawn)


def _fitting(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """As much of a text as fits, on one line."""
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib: Latin, Greek, Cyrillic and Arabic letters, no Chinese ones."""
    from matplotlib.font_manager import findfont

    return ImageFont.truetype(findfont("DejaVu Sans"), size)


UNKNOWN = 0.35  # grey of what nobody has said anything about


def relative_confidence(confidence: Tensor) -> Tensor:
    """Confidence in opaque pixels, [...], on a scale from 0 (nothing was said) to 1; one pixel is a half."""
    return confidence / (1 + confidence)


def confidence_colours(sure: Tensor, known: Tensor) -> Tensor:
    """Colours [..., 3] of how sure something is: dark to bright, and grey in so far as it is not known.

    sure: [...] in [0, 1], see `relative_confidence`. known: [...] in [0, 1].
    """
    ramp = torch.from_numpy(heat(np.atleast_2d(sure.numpy()), "viridis").reshape(*sure.shape, 3)).float() / 255
    return torch.lerp(torch.full_like(ramp, UNKNOWN), ramp, known[..., None])
