"""One browser window: the scene it draws, and the actions of its panels."""

from __future__ import annotations

import html
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from halonerf.camera_paths.path import AppearanceMix
from halonerf.errors import UserError
from halonerf.queries.connected_parts import ConnectedPart
from halonerf.rotations import matrices
from halonerf.viewer.cameras import fly, framing_fov, pose_of, pose_towards, view_of
from halonerf.viewer.engine import Engine
from halonerf.viewer.session import Session
from halonerf.viewer.still_image import StillRenderer

if TYPE_CHECKING:
    from viser import ClientHandle

log = logging.getLogger("halonerf")


class Window:
    """Connects viser's client, the state of the window, and its panels.

    Args:
        client: viser's handle of the browser window.
        engine: what all windows share.
        folder: where pictures, films and paths are saved besides being downloaded.
        still_size: px, long side of the picture that the field renders when the camera rests; 0: none.
        rest_s: s without motion until it is rendered.
    """

    def __init__(self, client: ClientHandle, engine: Engine, folder: Path, still_size: int, rest_s: float) -> None:
        self.client, self.engine, self.folder = client, engine, folder
        self.session = Session(engine)
        self.still_size = still_size
        self.selected_photo: str = engine.photos[0]
        self.closed = False
        self._sky = np.zeros((2, 2, 3), np.uint8)
        self.photo_listeners: list[Callable[[str], None]] = []
        self._lock = threading.RLock()
        splats = engine.splats
        axes = matrices(splats.rotations) * splats.scales[:, None]
        self.splats = client.scene.add_gaussian_splats(
            "/field",
            centers=splats.centres.cpu().numpy(),
            covariances=(axes @ axes.transpose(1, 2)).cpu().numpy(),
            rgbs=self.session.splat_colours(),
            opacities=splats.opacities.cpu().numpy()[:, None],
        )
        self.still = StillRenderer(self._render_still, self._hide_still, rest_s) if still_size else None
        client.camera.on_update(lambda _: self.invalidate())

    # --- display

    def refresh(self) -> None:
        """Colour the Gaussians by the session's present state."""
        with self._lock:  # the later of two concurrent changes is displayed last
            self.splats.rgbs = self.session.copy().splat_colours()
        self.client.flush()
        self.invalidate()

    def preview(self, mix: AppearanceMix, words: Mapping[str, float], threshold: float) -> None:
        """Colour the Gaussians by another state than the session's, until `refresh`.

        words: opacity of each. threshold: of their highlights; 0: each word's own.
        """
        session = Session(self.engine, threshold or None, max(words.values(), default=0.0), mix=mix)
        for word in words:
            session.find(word)
        self.splats.rgbs = session.splat_colours()
        self.invalidate()

    def invalidate(self) -> None:
        """Hide the field's picture and show the browser's Gaussians until the camera rests."""
        if self.still:
            self.still.invalidate()

    def close(self) -> None:
        """Stop rendering: the browser has disconnected."""
        self.closed = True
        if self.still:
            self.still.close()

    def _render_still(self, is_current: Callable[[], bool]) -> None:
        view = view_of(self.client.camera, self.still_size)
        session = self.session.copy()
        picture, sky = session.picture(view), session.sky(view)
        if is_current():
            with self.client.atomic():
                self._sky = sky
                self.client.scene.set_background_image(picture, format="jpeg", jpeg_quality=90)
                self.splats.visible = False
            self.client.flush()

    def _hide_still(self) -> None:
        with self.client.atomic():
            self.splats.visible = True
            self.client.scene.set_background_image(self._sky, format="png")

    # --- actions

    @contextmanager
    def report_errors(self) -> Iterator[None]:
        """Show errors inside as notifications: users' mistakes by their message, others by a reference to the log."""
        try:
            yield
        except UserError as error:
            self.notify(str(error), "orange")
        except Exception:
            if not self.closed:
                log.exception("error in a browser window")
            self.notify("That failed; see the log for the reason.", "red")

    def notify(self, text: str, colour: str = "gray") -> None:
        """Show a notification of at most 400 characters; none in a closed window."""
        if self.closed:
            return
        self.client.add_notification("halonerf", text[:400], auto_close_seconds=8.0, color=colour)  # type: ignore[call-overload]

    def fly_to_photo(self, name: str) -> None:
        """Move the camera to the position of a photo, and select the photo."""
        view = self.engine.scene.views[self.engine.photos.index(name)]
        self.select_photo(name)
        fly(
            self.client,
            view.camera_to_world,
            framing_fov(view, self.client.camera.aspect),
            self.engine.distance(view.centre),
        )

    def fly_to_part(self, part: ConnectedPart) -> None:
        """Move the camera near a part, in the direction of the photo that shows it best."""
        views = self.engine.scene.views
        eye = views[part.photos[0]].centre if part.photos else pose_of(self.client.camera)[:, 3]
        pose, distance = pose_towards(part.centre, part.box, eye, torch.tensor([0.0, 0.0, 1.0]))
        fly(self.client, pose, None, distance)

    def select_photo(self, name: str) -> None:
        """Select a photo and notify the panels."""
        self.selected_photo = name
        for listener in self.photo_listeners:
            listener(name)

    def compare(self, name: str) -> np.ndarray:
        """A photo beside the field's rendering of its view with its appearance, uint8 [H, 2 W + 4, 3]."""
        photo, session = self.engine.photo(name), self.session.copy()
        session.mix = {name: 1.0}
        gap = np.full((photo.shape[0], 4, 3), 255, np.uint8)
        view = self.engine.scene.views[self.engine.photos.index(name)]
        return np.concatenate([photo, gap, session.picture(view)], axis=1)


def plain(text: str) -> str:
    """HTML that shows a text literally."""
    return f'<div style="padding:0.2em 1em;font-size:0.8em;opacity:0.85">{html.escape(text)}</div>'
