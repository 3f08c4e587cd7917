"""Self-contained HTML pages: one file with embedded pictures, all text escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from halonerf.files import write_atomic

TEMPLATES = Path(__file__).with_name("templates")
TITLE_HEIGHT, GAP = 22, 4  # px
CELL = (280, 320)  # px, (width, height): largest size of a picture in a strip
TILE = (360, 280)  # px, (width, height)


class Page:
    """Fills HTML templates. folder: of further templates, which may extend those of this package."""

    def __init__(self, title: str, folder: Path = TEMPLATES) -> None:
        self.title = title
        self._environment = Environment(
            loader=FileSystemLoader([folder, TEMPLATES]), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
            lstrip_blocks=True,
        )  # fmt: skip
        self._environment.filters.update(figure=figure, duration=duration)

    def picture(self, path: Path, width: int) -> str | None:
        """The picture file as a data URL, at most `width` px wide; None where there is no file."""
        if not path.is_file():
            return None
        with Image.open(path) as opened:
            return self.embedded(opened.convert("RGBA" if "A" in opened.getbands() else "RGB"), width)

    def embedded(self, image: Image.Image, width: int) -> str:
        """The picture as a data URL, at most `width` px wide: PNG with an alpha channel, JPEG without."""
        if image.width > width:
            image = image.resize((width, max(1, round(image.height * width / image.width))), Image.Resampling.LANCZOS)
        kind = "png" if image.mode == "RGBA" else "jpeg"
        buffer = io.BytesIO()
        image.save(buffer, kind, quality=86)
        return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"

    def write(self, path: Path, template: str, **context: Any) -> None:
        """Fill `template` with `context` and atomically write the page."""
        write_atomic(path, self.text(template, **context).encode("utf-8", errors="replace"))

    def text(self, template: str, **context: Any) -> str:
        """Fill `template` with `context`; the page's HTML."""
        return self._environment.get_template(template).render(title=self.title, **context)


def figure(value: float | None, digits: int = 3) -> str:
    """Format a number for a table; a dash for None."""
    return "–" if value is None else f"{value:.{digits}f}"


def duration(seconds: float | None) -> str:
    """Format seconds: 0.4 s, 12 s, 3 min 05 s; a dash for None."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def labelled_strip(panels: Sequence[tuple[str, NDArray[np.uint8] | None]], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Pictures of one size side by side, each under its title.

    Args:
        panels: title and picture, [H, W, 3]; None draws an empty panel.
        size: (width, height) of the pictures, px; they are fitted into `CELL`.
    Returns: [height, panels * (CELL width + GAP) - GAP, 3]: as wide for every `size`, so that titles have one size.
    """
    scale = min(CELL[0] / size[0], CELL[1] / size[1])
    width, height = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    strip = Image.new("RGB", (len(panels) * (CELL[0] + GAP) - GAP, height + TITLE_HEIGHT), (24, 26, 31))
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(13)
    for index, (title, picture) in enumerate(panels):
        cell = index * (CELL[0] + GAP)
        left = cell + (CELL[0] - width) // 2
        draw.text((cell + 6, 3), title, fill=(214, 219, 228), font=font)
        if picture is None:
            draw.rectangle((left, TITLE_HEIGHT, left + width - 1, TITLE_HEIGHT + height), fill=(46, 49, 56))
        else:
            fitted = Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS)
            strip.paste(fitted, (left, TITLE_HEIGHT))
    return np.asarray(strip)


def mosaic(tiles: Sequence[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Pictures [H, W, 3] cropped to `TILE` around their centre, edge to edge; an incomplete last row is left out."""
    cut = [np.asarray(ImageOps.fit(Image.fromarray(tile), TILE, Image.Resampling.LANCZOS)) for tile in tiles]
    columns = min(columns, len(cut))
    rows = [np.concatenate(cut[i : i + columns], axis=1) for i in range(0, len(cut) - columns + 1, columns)]
    return np.concatenate(rows, axis=0)
