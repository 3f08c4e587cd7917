"""One window: the scene as it draws it, and what its panels do to it."""

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
from halonerf.viewer.cameras import fly, framing, pose_of, towards, view_of
from halonerf.viewer.engine import Engine
from halonerf.viewer.session import Session
from halonerf.viewer.still_image import StillRenderer

if TYPE_CHECKING:
    from viser import ClientHandle

log = logging.getLogger("halonerf")


class Window:
    """Connects a browser's window, a session, and the panels.

    Args:
        client: the browser's window.
        engine: the landmark.
        folder: where pictures, films and paths are kept besides being downloaded.
        still_size: px, long side of the field's own picture; 0: none is made.
        rest_s: s without motion until it is made.
    """

    def __init__(self, client: ClientHandle, engine: Engine, folder: Path, still_size: int, rest_s: float) -> None:
        self.client, self.engine, self.folder = client, engine, folder
        self.session = Session(engine)
        self.still_size = still_size
        self.chosen: str = engine.photos[0]
        self.closed = False
        self._sky = np.zeros((2, 2, 3), np.uint8)
        self.photo_listeners: list[Callable[[str], None]] = []
        self._lock = threading.RLock()
        splats = engine.splats
        turned = matrices(splats.rotations) * splats.scales[:, None]
        self.splats = client.scene.add_gaussian_splats(
            "/field",
            centers=splats.centres.cpu().numpy(),
            covariances=(turned @ turned.transpose(1, 2)).cpu().numpy(),
            rgbs=self.session.splat_colours(),
            opacities=splats.opacities.cpu().numpy()[:, None],
        )
        self.still = StillRenderer(self._draw_still, self._hide_still, rest_s) if still_size else None
        client.camera.on_update(lambda _: self.invalidate())

    # --- what is shown

    def refresh(self) -> None:
        """Colour the Gaussians as the session now has it."""
        with self._lock:  # of two changes at once, the later one is seen last
            self.splats.rgbs = self.session.copy().splat_colours()
        self.client.flush()
        self.invalidate()

    def show(self, mix: AppearanceMix, words: Mapping[str, float], threshold: float) -> None:
        """Colour the Gaussians otherwise than the session has it, until `refresh`. words: opacity of each."""
        look = Session(self.engine, threshold, max(words.values(), default=0.0), mix=mix)
        for word in words:
            look.find(word)
        self.splats.rgbs = look.splat_colours()
        self.invalidate()

    def invalidate(self) -> None:
        """Something moved: show the browser's own drawing until it rests."""
        if self.still:
            self.still.invalidate()

    def close(self) -> None:
        """The browser has gone."""
        self.closed = True
        if self.still:
            self.still.close()

    def _draw_still(self, wanted: Callable[[], bool]) -> None:
        view = view_of(self.client.camera, self.still_size)
        session = self.session.copy()
        picture, sky = session.picture(view), session.sky(view)
        if wanted():
            with self.client.atomic():
                self._sky = sky
                self.client.scene.set_background_image(picture, format="jpeg", jpeg_quality=90)
                self.splats.visible = False
            self.client.flush()

    def _hide_still(self) -> None:
        with self.client.atomic():
            self.splats.visible = True
            self.client.scene.set_background_image(self._sky, format="png")

    # --- what people do

    @contextmanager
    def told(self) -> Iterator[None]:
        """Tell whoever did it what they did wrong, and go on."""
        try:
            yield
        except UserError as error:
            self.tell(str(error), "orange")
        except Exception:
            if not self.closed:
                log.exception("in a window")
            self.tell("That failed; the log says why.", "red")

    def tell(self, text: str, colour: str = "gray") -> None:
        """A notice in the corner."""
        if self.closed:
            return
        self.client.add_notification("halonerf", text[:400], auto_close_seconds=8.0, color=colour)  # type: ignore[call-overload]

    def fly_to_photo(self, name: str) -> None:
        """Take the camera where a photo was taken."""
        view = self.engine.scene.data.views[self.engine.photos.index(name)]
        self.choose(name)
        fly(
            self.client,
            view.camera_to_world,
            framing(view, self.client.camera.aspect),
            self.engine.distance(view.centre),
        )

    def fly_to_part(self, part: ConnectedPart) -> None:
        """Take the camera near a part, on the side of the best photo that shows it."""
        views = self.engine.scene.data.views
        eye = views[part.photos[0]].centre if part.photos else pose_of(self.client.camera)[:, 3]
        pose, distance = towards(part.centre, part.box, eye, torch.tensor([0.0, 0.0, 1.0]))
        fly(self.client, pose, None, distance)

    def choose(self, name: str) -> None:
        """Select a photo."""
        self.chosen = name
        for listener in self.photo_listeners:
            listener(name)

    def compare(self, name: str) -> np.ndarray:
        """A photo beside what the field shows from there in its light, uint8 [H, W, 3]."""
        number = self.engine.photos.index(name)
        scene = self.engine.scene.data
        photo, own = scene.photo(number).numpy(), self.session.copy()
        own.mix = {name: 1.0}
        gap = np.full((photo.shape[0], 4, 3), 255, np.uint8)
        return np.concatenate([photo, gap, own.picture(scene.views[number])], axis=1)


def plain(text: str) -> str:
    """Text as HTML that shows just that."""
    return f'<div style="padding:0.2em 1em;font-size:0.8em;opacity:0.85">{html.escape(text)}</div>'
