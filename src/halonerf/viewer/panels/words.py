"""Panel of words: find them, highlight them, set their colours, fly to their parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from halonerf.queries.connected_parts import ConnectedPart
from halonerf.viewer.session import WindowWord
from halonerf.viewer.window import Window, plain
from halonerf.visualization.palette import Colour

if TYPE_CHECKING:
    from viser import GuiFolderHandle

LISTED_PARTS = 6  # per word
MAX_LABEL_CHARS = 60
NONE = "(none)"


class WordsPanel:
    """A text box, and a folder per word. first: texts that are found at once."""

    def __init__(self, window: Window, first: tuple[str, ...]) -> None:
        self.window, self.gui = window, window.client.gui
        self.folders: dict[str, GuiFolderHandle] = {}
        with self.gui.add_form(None) as form:
            self.text = self.gui.add_text("Find", "", hint="a word, or words with AND, OR, NOT; press Enter")
            button = self.gui.add_button("Find", icon=None)
        self.notice = self.gui.add_html(plain("Type a word to find, such as: portal"))
        self.busy = self.gui.add_progress_bar(100, visible=False, animated=True)
        session = window.session
        self.threshold = self.gui.add_slider(
            "Threshold", 0.0, 0.99, 0.01, session.threshold or 0.0, hint="probability; 0: each word's own"
        )
        self.opacity = self.gui.add_slider("Opacity", 0.0, 1.0, 0.05, session.opacity)
        self.confidence = self.gui.add_dropdown("Confidence of", (NONE,), initial_value=NONE)
        self.list = self.gui.add_folder("Found")
        button.on_click(lambda _: form.submit())
        form.on_submit(lambda _: self.find(self.text.value))
        self.threshold.on_update(lambda _: self._change())
        self.opacity.on_update(lambda _: self._change())
        self.confidence.on_update(lambda _: self._change())
        for word in first:
            self.find(word)

    def find(self, text: str) -> None:
        """Find a text, highlight it and list its parts."""
        if not text.strip():
            return
        self.busy.visible = True
        self.window.client.flush()
        try:
            with self.window.report_errors():
                word = self.window.session.find(text)
                self.window.refresh()
                parts = self.window.engine.parts(word.result, self.window.session.threshold)
                self.notice.content = plain(self.window.session.advice(word.result, len(parts)))
                self._list(word, parts)
        finally:
            self.busy.visible = False
            self.window.client.flush()

    def _change(self) -> None:
        session = self.window.session
        session.threshold, session.opacity = self.threshold.value or None, self.opacity.value
        session.confidence_word = None if self.confidence.value == NONE else self.confidence.value
        with self.window.report_errors():
            self.window.refresh()

    def _list(self, word: WindowWord, parts: list[ConnectedPart]) -> None:
        """Add a folder about a word, instead of an earlier one."""
        result = word.result
        self._drop(result.text)
        with self.list:
            folder = self.gui.add_folder(result.text[:MAX_LABEL_CHARS], expand_by_default=True)
        self.folders[result.text] = folder
        with folder:
            highlighted = self.gui.add_checkbox("Highlight", word.highlighted)
            colour = self.gui.add_rgb("Colour", word.colour)
            for number, part in enumerate(parts[:LISTED_PARTS]):
                size = max(part.box[1] - part.box[0])
                label = f"{number + 1}: {len(part.elements):,} elements, {size:.2f} wide"
                button = self.gui.add_button(label, hint=f"probability {part.probability:.0%}; fly there")
                button.on_click(lambda _, p=part: self.window.fly_to_part(p))
            if len(parts) > LISTED_PARTS:
                self.gui.add_html(plain(f"and {len(parts) - LISTED_PARTS} more parts"))
            for name in result.photos:
                button = self.gui.add_button(
                    f"Photo {name[:40]}", hint="fly to this photo, one of those that show most of it"
                )
                button.on_click(lambda _, n=name: self.window.fly_to_photo(n))
            remove = self.gui.add_button("Remove", color="gray")
        highlighted.on_update(lambda _: self._alter(result.text, highlighted.value, None))
        colour.on_update(lambda _: self._alter(result.text, None, colour.value))
        remove.on_click(lambda _: self._remove(result.text))
        self._update_confidence_words()

    def _alter(self, text: str, highlighted: bool | None, colour: Colour | None) -> None:
        self.window.session.change(text, highlighted, colour)
        with self.window.report_errors():
            self.window.refresh()

    def _remove(self, text: str) -> None:
        self.window.session.remove(text)
        self._drop(text)
        self._update_confidence_words()
        with self.window.report_errors():
            self.window.refresh()

    def _drop(self, text: str) -> None:
        if text in self.folders:
            self.folders.pop(text).remove()

    def _update_confidence_words(self) -> None:
        """Offer the confidence of the words that the window has."""
        selected = self.window.session.confidence_word
        self.confidence.options = (NONE, *self.window.session.words)
        self.confidence.value = selected or NONE
