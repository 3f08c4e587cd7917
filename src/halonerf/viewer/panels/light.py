"""The panel of light: between any two, or that of a photo from elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from halonerf.errors import BadInput
from halonerf.rendering.appearance import MEAN
from halonerf.viewer.window import Window

if TYPE_CHECKING:
    from viser import GuiEvent, GuiUploadButtonHandle

MOST_BORROWED = 8  # lights of uploaded photos a window keeps


class LightPanel:
    """Two lights and a slider between them."""

    def __init__(self, window: Window, upload_mb: float) -> None:
        self.window, self.gui, self.upload_mb = window, window.client.gui, upload_mb
        self.borrowed: dict[str, tuple[float, ...]] = {}  # codes of photos that were dropped in, by label
        self.uploads = 0
        lights = tuple(window.engine.lights())
        self.first = self.gui.add_dropdown("From", lights, initial_value=MEAN)
        self.second = self.gui.add_dropdown("To", lights, initial_value=lights[min(1, len(lights) - 1)])
        self.share = self.gui.add_slider("Between", 0.0, 1.0, 0.02, 0.0)
        for handle in (self.first, self.second, self.share):
            handle.on_update(lambda _: self.mix())
        if window.engine.encodes:
            upload = self.gui.add_upload_button("Take the light of a photo …", mime_type="image/*")
            upload.on_upload(self._take)

    def mix(self) -> None:
        """Show the mix that the slider stands for."""
        share, mix = self.share.value, dict[str | tuple[float, ...], float]()
        for name, weight in ((self.first.value, 1 - share), (self.second.value, share)):
            light = self.borrowed.get(name, name)
            if weight > 0:
                mix[light] = mix.get(light, 0.0) + weight
        self.window.session.mix = mix
        with self.window.told():
            self.window.refresh()

    def take(self, name: str) -> None:
        """Show a photo's light."""
        self.first.value = name
        self.share.value = 0.0
        self.mix()

    def _take(self, event: GuiEvent[GuiUploadButtonHandle]) -> None:
        file = event.target.value
        with self.window.told():
            if len(file.content) > self.upload_mb * 1e6:
                raise BadInput(
                    f"expected a photo of at most {self.upload_mb:g} MB, got {len(file.content) / 1e6:.1f} MB"
                )
            code = tuple(self.window.engine.encode(file.content).tolist())
            self.uploads += 1
            label = f"upload {self.uploads}: {''.join(c for c in file.name if c.isprintable())[:40]}"
            while len(self.borrowed) >= MOST_BORROWED:
                self.borrowed.pop(next(iter(self.borrowed)))
            self.borrowed[label] = code
            for handle in (self.first, self.second):
                kept = handle.value
                handle.options = (*self.window.engine.lights(), *self.borrowed)
                handle.value = kept if kept in handle.options else MEAN
            self.take(label)
