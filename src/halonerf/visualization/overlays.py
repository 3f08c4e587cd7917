"""Concepts over images: highlights where their probability is high, legends and captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from halonerf.visualization.palette import Colour
from halonerf.visualization.pictures import REC601, luminance

EDGE_WIDTH = 0.12  # of the threshold, around it: soft edges do not flicker from frame to frame
LINES, MIN_TEXT_PX = 28, 10  # letters are 1 / LINES of the height of the picture, but at least so many px


def highlight(
    image: np.ndarray,
    probability: np.ndarray,
    opacity: Sequence[float],
    threshold: float | Sequence[float],
    colours: Sequence[Colour],
) -> np.ndarray:
    """Colour pixels by the concepts whose probability reaches the threshold, and make the others paler.

    Args:
        image: [..., 3] in [0, 1].
        probability: [..., Q] in [0, 1]; 0 where nothing is known.
        opacity: of each concept's colour, Q values in [0, 1]; where concepts overlap, their colours mix.
        threshold: probability in the middle of an edge, which is `EDGE_WIDTH` times that wide; of each concept, or one.
        colours: of each concept.
    Returns: [..., 3] in [0, 1]; `image` itself where all opacities are 0.
    """
    if not len(opacity) or max(opacity) <= 0:
        return image
    luma = luminance(image, REC601)[..., None]
    table = np.array(colours, np.float32) / 255
    strength = np.array(opacity, np.float32)
    limit = np.maximum(np.asarray(threshold, np.float32), 1e-6)
    inside = np.clip((probability - limit) / (EDGE_WIDTH * limit) + 0.5, 0.0, 1.0).astype(np.float32)
    weight = inside * strength
    total = np.maximum(weight.sum(axis=-1, keepdims=True), 1e-6)
    highlighted = (weight @ table) / total * (0.5 + 0.5 * luma)  # the surface's shading stays visible
    paler = image + (0.375 * luma - 0.5 * image) * strength.max()
    amount = (weight * strength).sum(axis=-1, keepdims=True) / total
    where = inside[..., strength > 0].max(axis=-1, keepdims=True)
    return paler + ((image + (highlighted - image) * amount) - paler) * where


def legend(picture: np.ndarray, entries: Mapping[str, tuple[Colour, float]]) -> np.ndarray:
    """The picture with names of concepts at its lower left, each beside its colour.

    Args:
        picture: uint8 [H, W, 3].
        entries: colour and opacity of each name; names of opacity 0, and those that do not fit, are left out.
    Returns: uint8 [H, W, 3].
    """
    visible = [(name, *entry) for name, entry in entries.items() if entry[1] > 0]
    if not visible:
        return picture
    height, width = picture.shape[:2]
    size = _text_size(height)
    line, edge = round(1.5 * size), size // 2
    drawn = Image.fromarray(picture).convert("RGBA")
    layer = Image.new("RGBA", drawn.size)
    pen, font = ImageDraw.Draw(layer), _font(size)
    max_rows = max(1, (height - 2 * edge) // line)
    for row, (name, colour, opacity) in enumerate(reversed(visible[:max_rows])):
        text, top = _shortened(name, font, width - 5 * edge - size), height - edge - (row + 1) * line
        alpha = round(255 * min(1.0, opacity / max(entry[2] for entry in visible)))
        length = font.getlength(text)
        pen.rectangle((edge, top, 4 * edge + size + length, top + line - 2), fill=(0, 0, 0, alpha // 2))
        box = (2 * edge, top + line // 2 - size // 2, 2 * edge + size, top + line // 2 + size // 2)
        pen.rectangle(box, fill=(*colour, alpha))
        pen.text((3 * edge + size, top + line // 2), text, font=font, fill=(255, 255, 255, alpha), anchor="lm")
    return np.asarray(Image.alpha_composite(drawn, layer).convert("RGB"))


def caption(picture: np.ndarray, left: str, right: str) -> np.ndarray:
    """The picture, uint8 [H, W, 3], with a text in its upper left corner and one in its upper right corner."""
    height, width = picture.shape[:2]
    size = _text_size(height)
    edge, font = size // 2, _font(size)
    drawn = Image.fromarray(picture)
    pen = ImageDraw.Draw(drawn)
    for text, x, anchor in ((left, edge, "lt"), (right, width - edge, "rt")):
        fitted = _shortened(text, font, width / 2 - 2 * edge)
        pen.text((x, edge), fitted, font=font, fill="white", anchor=anchor, stroke_width=2, stroke_fill="black")
    return np.asarray(drawn)


def _text_size(height: int) -> int:
    """Height of letters, px, in a picture of that height."""
    return max(MIN_TEXT_PX, height // LINES)


def _shortened(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """The text on one line, cut with an ellipsis to at most `width` px."""
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
