"""Writes a shared page and takes screenshots of it in a browser."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from halonerf.stages.share import Share
from helpers.made_cathedral import FIELD, HEAD

IDLE = '#picture[data-idle="yes"]'
HIDE = """() => {
  const sheet = new CSSStyleSheet(); // a style element would be against the policy of the live page
  sheet.replaceSync("#photo-bar, #view-buttons, #guess { opacity: 0 } #picture { outline: none !important }");
  document.adoptedStyleSheets = [sheet];
}"""
YELLOW = 60  # of 255 that red exceeds blue by where "rose window" is highlighted, and only there


def share(folders: dict[str, Path], folder: Path, **options: Any) -> Path:
    folder.mkdir()
    stage = Share(FIELD, HEAD, {}, preview=64, min_elements=5, **options)
    stage.bind(folder, folders, 0)
    stage.prepare()
    stage.predict_step("index.html", 0)
    return folder / "index.html"


def wait_until_drawn(page: Any) -> None:
    page.wait_for_selector(IDLE)


def seen(page: Any, box: dict[str, float] | None = None) -> np.ndarray:
    """A screenshot of the finished picture, or of `box` of the window, [H, W, 3] in 0..255."""
    wait_until_drawn(page)
    page.evaluate(HIDE)
    clip = box or page.locator("#picture").bounding_box()
    stored = page.screenshot(clip=clip)
    return np.asarray(Image.open(io.BytesIO(stored)).convert("RGB")).astype(float)


def visit(page: Any, photo: str) -> dict[str, float]:
    """Fly to a photo; the box of its frame in the window."""
    page.click(f'button[aria-label="Fly to photo {photo}"]')
    page.wait_for_selector("#overlay:not([hidden])", state="attached")
    wait_until_drawn(page)
    return page.locator("#overlay").bounding_box()


def apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).mean())


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / max((one | other).sum(), 1))


def highlighted(picture: np.ndarray) -> np.ndarray:
    return picture[..., 0] - picture[..., 2] > YELLOW
