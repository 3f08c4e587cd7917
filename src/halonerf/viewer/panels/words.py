"""The panel of words: ask, see what was found, tick, tint, fly to its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from halonerf.queries.connected_parts import ConnectedPart
from halonerf.viewer.session import ShownWord
from halonerf.viewer.window import Window, plain

if TYPE_CHECKING:
    from viser import GuiFolderHandle

MOST_PARTS = 6  # listed a word
NONE = "(none)"


class WordsPanel:
    """A text box, and a folder a word."""

    def __init__(self, window: Window, first: tuple[str, ...]) -> None:
        self.window, self.gui = window, window.client.gui
        self.folders: dict[str, GuiFolderHandle] = {}
        with self.gui.add_form(None) as form:
            self.text = self.gui.add_text("Find", "", hint="a word, or words with AND, OR, NOT; press Enter")
            button = self.gui.add_button("Find", icon=None)
        self.notice = self.gui.add_html(plain("Type what you look for, such as: portal"))
        self.busy = self.gui.add_progress_bar(100, visible=False, animated=True)
        session = window.session
        self.threshold = self.gui.add_slider("Threshold", 0.01, 0.99, 0.01, session.threshold)
        self.opacity = self.gui.add_slider("Opacity", 0.0, 1.0, 0.05, session.opacity)
        self.doubt = self.gui.add_dropdown("Confidence of", (NONE,), initial_value=NONE)
        self.list = self.gui.add_folder("Found")
        button.on_click(lambda _: form.submit())
        form.on_submit(lambda _: self.find(self.text.value))
        self.threshold.on_update(lambda _: self._change())
        self.opacity.on_update(lambda _: self._change())
        self.doubt.on_update(lambda _: self._change())
        for word in first:
            self.find(word)

    def find(self, text: str) -> None:
        """Ask, light it, and list it."""
        if not text.strip():
            return
        self.busy.visible = True
        self.window.client.flush()
        try:
            with self.window.told():
                word = self.window.session.find(text)
                self.window.refresh()
                parts = self.window.engine.parts(word.found, self.window.session.threshold)
                self.notice.content = plain(self.window.session.advice(word.found, len(parts)))
                self._list(word, parts)
        finally:
            self.busy.visible = False
            self.window.client.flush()

    def _change(self) -> None:
        session = self.window.session
        session.threshold, session.opacity = self.threshold.value, self.opacity.value
        session.confidence_word = None if self.doubt.value == NONE else self.doubt.value
        with self.window.told():
            self.window.refresh()

    def _list(self, word: ShownWord, parts: list[ConnectedPart]) -> None:
        """A folder with everything about a word; the one that was there is replaced."""
        found = word.found
        self._drop(found.text)
        with self.list:
            folder = self.gui.add_folder(found.text[:60], expand_by_default=True)
        self.folders[found.text] = folder
        with folder:
            lit = self.gui.add_checkbox("Lit", word.lit)
            tint = self.gui.add_rgb("Tint", word.tint)
            for number, part in enumerate(parts[:MOST_PARTS]):
                size = max(part.box[1] - part.box[0])
                label = f"{number + 1}: {len(part.elements):,} places, {size:.2f} wide"
                button = self.gui.add_button(label, hint=f"{part.probability:.0%} probable; fly there")
                button.on_click(lambda _, p=part: self.window.fly_to_part(p))
            if len(parts) > MOST_PARTS:
                self.gui.add_html(plain(f"and {len(parts) - MOST_PARTS} more parts"))
            for name in found.best:
                button = self.gui.add_button(f"Photo {name[:40]}", hint="fly to this photo, which shows it best")
                button.on_click(lambda _, n=name: self.window.fly_to_photo(n))
            remove = self.gui.add_button("Remove", color="gray")
        lit.on_update(lambda _: self._alter(found.text, lit.value, None))
        tint.on_update(lambda _: self._alter(found.text, None, tint.value))
        remove.on_click(lambda _: self._remove(found.text))
        self._offer()

    def _alter(self, text: str, lit: bool | None, tint: tuple[int, int, int] | None) -> None:
        self.window.session.change(text, lit, tint)
        with self.window.told():
            self.window.refresh()

    def _remove(self, text: str) -> None:
        self.window.session.forget(text)
        self._drop(text)
        self._offer()
        with self.window.told():
            self.window.refresh()

    def _drop(self, text: str) -> None:
        if text in self.folders:
            self.folders.pop(text).remove()

    def _offer(self) -> None:
        """The words whose confidence can be looked at."""
        chosen = self.window.session.confidence_word
        self.doubt.options = (NONE, *self.window.session.words)
        self.doubt.value = chosen or NONE
