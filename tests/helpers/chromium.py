"""A headless Chromium that draws WebGL in software, for tests of what people see in a browser."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((path for name in NAMES if (path := shutil.which(name))), "")
FLAGS = (
    "--headless", "--no-sandbox", "--no-first-run", "--hide-scrollbars",
    "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist",  # WebGL 2 without a GPU
)  # fmt: skip
START_MS, STEP_MS = 60_000, 30_000  # a busy machine starts a browser slowly


def _missing() -> str:
    """Why no browser can be opened here; empty where one can."""
    if importlib.util.find_spec("playwright") is None:
        return "needs playwright: pip install playwright"
    return "" if CHROMIUM else "needs Chromium on the PATH"


# For a module: `pytestmark = MARKS`.
MARKS = [pytest.mark.browser, pytest.mark.skipif(bool(_missing()), reason=_missing() or "there is one")]


def needs_chromium(test):
    """Mark a test `browser`, skipped with the reason where there is none."""
    for mark in MARKS:
        test = mark(test)
    return test


@contextmanager
def open_browser() -> Iterator[Browser]:
    """A browser of its own, closed at the end."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS), timeout=START_MS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def open_page(
    browser: Browser,
    address: str,
    size: tuple[int, int] = (1280, 800),
    touch: bool = False,
    still: bool = True,
    offline: bool = True,
    before: str = "",
) -> Iterator[tuple[Page, list[str]]]:
    """A window of `size` px on `address`, and the list that errors of the page and its console are added to.

    still: the page is asked for no motion. offline: it may load nothing but itself; another request is an error in the
    list. before: a script that runs before the page's own.
    """
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, has_touch=touch, reduced_motion="reduce" if still else None
    )
    context.set_default_timeout(STEP_MS)
    errors: list[str] = []
    page = context.new_page()
    page.add_init_script(before)
    page.on("pageerror", lambda error: errors.append(f"error: {error}"))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    if offline:
        page.on("request", lambda request: _only_itself(request.url, address, errors))
    try:
        page.goto(address)
        yield page, errors
    finally:
        context.close()


def _only_itself(url: str, address: str, errors: list[str]) -> None:
    if url.split("#")[0] != address.split("#")[0] and not url.startswith(("data:", "blob:")):
        errors.append(f"asked for {url}")
