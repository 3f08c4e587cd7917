"""Panel of photos: fly to one, compare photo and rendering, take over its light."""

from __future__ import annotations

from collections.abc import Callable

from halonerf.viewer.window import Window
from halonerf.visualization.pictures import fit

COMPARISON_HEIGHT = 200  # px


class PhotosPanel:
    """Selects a photo, as clicks on the cameras in the scene do.

    Args:
        take_light: sets the window's light to that of the photo with the given name.
        show_cameras: shows or hides the photos' cameras in this window.
    """

    def __init__(self, window: Window, take_light: Callable[[str], None], show_cameras: Callable[[bool], None]) -> None:
        self.window, gui = window, window.client.gui
        self.cameras = gui.add_checkbox("Show the photos' cameras", True)
        self.photo = gui.add_dropdown("Photo", tuple(window.engine.photos), initial_value=window.selected_photo)
        fly = gui.add_button("Fly to it")
        light = gui.add_button("Take its light")
        compare = gui.add_button("Photo beside render")
        self.pair = gui.add_image(fit(window.engine.photo(window.selected_photo), COMPARISON_HEIGHT), visible=True)
        window.photo_listeners.append(self._select)
        self.photo.on_update(lambda _: self.window.select_photo(self.photo.value))
        self.cameras.on_update(lambda _: show_cameras(self.cameras.value))
        fly.on_click(lambda _: window.fly_to_photo(self.photo.value))
        light.on_click(lambda _: take_light(self.photo.value))
        compare.on_click(lambda _: self._compare())

    def _select(self, name: str) -> None:
        if self.photo.value != name:
            self.photo.value = name
        self.pair.image = fit(self.window.engine.photo(name), COMPARISON_HEIGHT)

    def _compare(self) -> None:
        with self.window.report_errors():
            self.pair.image = fit(self.window.compare(self.photo.value), COMPARISON_HEIGHT)
