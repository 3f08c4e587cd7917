"""The photos' cameras as pyramids in the scene: a click flies to a photo, whose pyramid is then hidden."""

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
    """Camera pyramids that show their photos.

    Args:
        max_cameras: drawn at most, every n-th of all. height: px, of the pictures.
    """

    def __init__(self, window: Window, max_cameras: int, height: int) -> None:
        self.window, self._selected = window, ""
        engine, scene = window.engine, window.client.scene
        self._parent = scene.add_frame("/photos", show_axes=False)
        self._pyramids: dict[str, CameraFrustumHandle] = {}
        views, names = engine.scene.views, engine.photos
        step = max(1, -(-len(views) // max(1, max_cameras)))
        for number in range(0, len(views) if max_cameras else 0, step):
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
            self._pyramids[name] = camera
        window.photo_listeners.append(self._select)
        window.client.camera.on_update(lambda _: self._update())

    def show(self, visible: bool) -> None:
        """Show all pyramids, or none."""
        self._parent.visible = visible

    def _select(self, name: str) -> None:
        """Make `name` the photo whose pyramid may be hidden."""
        if self._selected in self._pyramids:
            self._pyramids[self._selected].visible = True
        self._selected = name
        self._update()

    def _update(self) -> None:
        """Hide the selected photo's pyramid while the window's camera is in it, where it would block the view."""
        camera = self._pyramids.get(self._selected)
        if camera is None:
            return
        distance = float(np.linalg.norm(np.asarray(self.window.client.camera.position) - camera.position))
        visible = distance > 2 * self.window.engine.camera_size
        if camera.visible != visible:
            camera.visible = visible
