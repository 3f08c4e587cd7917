"""What the tests of the live page share: a landmark whose truth is known, and a browser."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from helpers.chromium import open_browser, open_page
from helpers.indexed_cathedral import write_indexed_cathedral
from helpers.live_page import Served

SHOTS = Path(os.environ.get("HALONERF_SCREENSHOTS", "artifacts/screenshots"))  # for inspection


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A cathedral down to `index`, whose segmenter knows the true masks; the photo that is held out is not in it."""
    return write_indexed_cathedral(tmp_path_factory.mktemp("landmark"))


@pytest.fixture(scope="module")
def served(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(folders, tmp_path_factory.mktemp("explore"), picture_size=320, upload_mb=1.0)
    yield made
    made.viewer.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def opened(browser: Any, served: Served) -> Callable[..., AbstractContextManager[tuple[Any, list[str]]]]:
    """Opens the live page in a new window, with a text behind the "#" of its address."""

    def open_one(after: str = "", **options: Any) -> AbstractContextManager[tuple[Any, list[str]]]:
        return open_page(browser, served.address + after, offline=False, **options)

    return open_one


@pytest.fixture
def keep() -> Callable[[Any, str], None]:
    """Stores a screenshot of a page under a name, to be looked at."""

    def store(page: Any, name: str) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(SHOTS / f"{name}.png"))

    return store
