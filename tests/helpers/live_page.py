"""The live page of a landmark whose truth is known, and what people do on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from halonerf.queries.session import QuerySession
from halonerf.viewer.web.viewer import WebViewer
from helpers.indexed_cathedral import segmenter
from helpers.made_cathedral import FIELD, HEAD

PATIENCE_MS = 60_000  # WebGL in software, beside other tests
CONCEPTS = ("portal", "window", "rose window", "tower", "spire")


class Served:
    """A viewer that serves, with the address that it printed and the folder that it keeps files in."""

    def __init__(self, folders: dict[str, Path], folder: Path, **options: Any) -> None:
        self.viewer, self.folder = WebViewer(port=0, min_elements=5, **options), folder
        session = QuerySession(folders, segmenter(folders), FIELD, HEAD)
        self.address = self.viewer.start(session, folder, (), CONCEPTS)

    @property
    def photos(self) -> list[str]:
        """The names of the scene's photos."""
        return self.viewer.engine.photos


def ask(page: Any, text: str) -> None:
    """Type a text and wait until the page lit it up."""
    page.fill("#query-text", text)
    page.press("#query-text", "Enter")
    page.wait_for_selector(f'.word label:has-text("{text}") input:checked', timeout=PATIENCE_MS)


def downloaded(page: Any, button: str) -> tuple[str, bytes]:
    """Name and bytes of the file that the browser saves after a click."""
    with page.expect_download(timeout=PATIENCE_MS) as waiting:
        page.click(button)
    return waiting.value.suggested_filename, waiting.value.path().read_bytes()
