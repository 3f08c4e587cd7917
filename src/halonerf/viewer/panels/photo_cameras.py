"""The photos' cameras as a window draws them: a click flies there, and the one stood in does not block the view."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from halonerf.rotations import quaternions
from halonerf.viewer.window import Window
from halonerf.visualization.pictures import fit

if TYPE_CHECKING:
    from viser import CameraFrustumHandle

COLOUR = (220, 220, 220)


class PhotoCameras:
    """Small pyramids with the photos in them.

    Args:
        most: cameras drawn at most, evenly chosen. height: px, of the pictures.
    """

    def __init__(self, window: Window, most: int, height: int) -> None:
        self.window, self._entered = window, ""
        engine, scene = window.engine, window.client.scene
        self._parent = scene.add_frame("/photos", show_axes=False)
        self._drawn: dict[str, CameraFrustumHandle] = {}
        views, names = engine.scene.data.views, engine.photos
        step = max(1, -(-len(views) // max(1, most)))
        for number in range(0, len(views) if most else 0, step):
            view, name = views[number], names[number]
            camera = scene.add_camera_frustum(
                f"/photos/{number}",
                fov=2 * math.atan(view.height / 2 / view.fy),
                aspect=view.width / view.height,
                scale=engine.camera_size,
                thickness=1.5,
                thickness_units="screen",
                color=COLOUR,
                image=fit(engine.photo(name), height),
                wxyz=quaternions(view.camera_to_world[None, :, :3].double())[0].numpy(),
                position=view.centre.double().numpy(),
                cast_shadow=False,
                receive_shadow=False,
            )
            camera.on_click(lambda _, n=name: window.fly_to_photo(n))
            self._drawn[name] = camera
        window.photo_listeners.append(self._enter)
        window.client.camera.on_update(lambda _: self._leave())

    def show(self, shown: bool) -> None:
        """All of them, or none."""
        self._parent.visible = shown

    def _enter(self, name: str) -> None:
        """A photo was chosen: people may stand in its camera soon."""
        if self._entered in self._drawn:
            self._drawn[self._entered].visible = True
        self._entered = name
        self._leave()

    def _leave(self) -> None:
        """Hide the chosen photo's camera while the window's own is in it."""
        camera = self._drawn.get(self._entered)
        if camera is None:
            return
        away = float(np.linalg.norm(np.asarray(self.window.client.camera.position) - camera.position))
        visible = away > 2 * self.window.engine.camera_size
        if camera.visible != visible:
            camera.visible = visible
