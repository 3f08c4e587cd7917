"""Panel of light: a mix of two lights, or the light of an uploaded photo."""

from __future__ import annotations

from typing import TYPE_CHECKING

from halonerf.errors import BadInput
from halonerf.rendering.appearance import MEAN
from halonerf.viewer.window import Window

if TYPE_CHECKING:
    from viser import GuiEvent, GuiUploadButtonHandle

MAX_UPLOADED_LIGHTS = 8  # of a window; the oldest is dropped


class LightPanel:
    """Two lights and a slider that mixes them. upload_mb: MB of an uploaded photo at most."""

    def __init__(self, window: Window, upload_mb: float) -> None:
        self.window, self.gui, self.upload_mb = window, window.client.gui, upload_mb
        self.uploaded: dict[str, tuple[float, ...]] = {}  # appearance codes of uploaded photos, by label
        self.upload_count = 0
        lights = tuple(window.engine.lights())
        self.first = self.gui.add_dropdown("From", lights, initial_value=MEAN)
        self.second = self.gui.add_dropdown("To", lights, initial_value=lights[min(1, len(lights) - 1)])
        self.share = self.gui.add_slider("Between", 0.0, 1.0, 0.02, 0.0)
        for handle in (self.first, self.second, self.share):
            handle.on_update(lambda _: self.mix())
        if window.engine.encodes:
            upload = self.gui.add_upload_button("Take the light of a photo …", mime_type="image/*")
            upload.on_upload(self._upload)

    def mix(self) -> None:
        """Set the window's light to the mix that the slider shows."""
        share, mix = self.share.value, dict[str | tuple[float, ...], float]()
        for name, weight in ((self.first.value, 1 - share), (self.second.value, share)):
            light = self.uploaded.get(name, name)
            if weight > 0:
                mix[light] = mix.get(light, 0.0) + weight
        self.window.session.mix = mix
        with self.window.report_errors():
            self.window.refresh()

    def take(self, name: str) -> None:
        """Set the window's light to that of a photo, or of an upload's label."""
        self.first.value = name
        self.share.value = 0.0
        self.mix()

    def _upload(self, event: GuiEvent[GuiUploadButtonHandle]) -> None:
        file = event.target.value
        with self.window.report_errors():
            if len(file.content) > self.upload_mb * 1e6:
                raise BadInput(
                    f"expected a photo of at most {self.upload_mb:g} MB, got {len(file.content) / 1e6:.1f} MB"
                )
            code = tuple(self.window.engine.encode(file.content).tolist())
            self.upload_count += 1
            label = f"upload {self.upload_count}: {''.join(c for c in file.name if c.isprintable())[:40]}"
            while len(self.uploaded) >= MAX_UPLOADED_LIGHTS:
                self.uploaded.pop(next(iter(self.uploaded)))
            self.uploaded[label] = code
            for handle in (self.first, self.second):
                selected = handle.value
                handle.options = (*self.window.engine.lights(), *self.uploaded)
                handle.value = selected if selected in handle.options else MEAN
            self.take(label)
