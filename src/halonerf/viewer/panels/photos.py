"""The panel of photos: fly there, see photo and field side by side, take its light."""

from __future__ import annotations

from collections.abc import Callable

from halonerf.viewer.window import Window
from halonerf.visualization.pictures import fit

HEIGHT = 200  # px of the pair


class PhotosPanel:
    """Chooses a photo; the cameras in the scene do, too.

    Args:
        take_light: shows the light of the photo of this name.
        show_cameras: shows or hides the photos' cameras in this window.
    """

    def __init__(self, window: Window, take_light: Callable[[str], None], show_cameras: Callable[[bool], None]) -> None:
        self.window, gui = window, window.client.gui
        self.cameras = gui.add_checkbox("Show the photos' cameras", True)
        self.photo = gui.add_dropdown("Photo", tuple(window.engine.photos), initial_value=window.chosen)
        fly = gui.add_button("Fly to it")
        light = gui.add_button("Take its light")
        beside = gui.add_button("Photo beside render")
        self.pair = gui.add_image(fit(window.engine.photo(window.chosen), HEIGHT), visible=True)
        window.photo_listeners.append(self._chosen)
        self.photo.on_update(lambda _: self.window.choose(self.photo.value))
        self.cameras.on_update(lambda _: show_cameras(self.cameras.value))
        fly.on_click(lambda _: window.fly_to_photo(self.photo.value))
        light.on_click(lambda _: take_light(self.photo.value))
        beside.on_click(lambda _: self._beside())

    def _chosen(self, name: str) -> None:
        if self.photo.value != name:
            self.photo.value = name
        self.pair.image = fit(self.window.engine.photo(name), HEIGHT)

    def _beside(self) -> None:
        with self.window.told():
            self.pair.image = fit(self.window.compare(self.photo.value), HEIGHT)
