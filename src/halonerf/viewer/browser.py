"""The viewer in a browser: a web server on this machine (viser), with a window for each browser tab that connects."""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from annotated_types import Interval

from halonerf.config.option_types import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Text
from halonerf.process.waiting import wait_for_end
from halonerf.queries.connected_parts import PartOptions
from halonerf.queries.session import QuerySession
from halonerf.types import View
from halonerf.viewer.cameras import framing_fov
from halonerf.viewer.engine import Engine
from halonerf.viewer.hosts import is_loopback
from halonerf.viewer.panels.film import PathPanel
from halonerf.viewer.panels.light import LightPanel
from halonerf.viewer.panels.photo_cameras import PhotoCameras
from halonerf.viewer.panels.photos import PhotosPanel
from halonerf.viewer.panels.words import WordsPanel
from halonerf.viewer.saved_files import refuse_large_uploads
from halonerf.viewer.window import Window

if TYPE_CHECKING:
    import viser

log = logging.getLogger("halonerf")

BRAND_COLOUR = (204, 140, 40)
MAX_STILL_S, MIN_STILL_SIZE = 3.0, 96  # s that a picture of the resting camera may take; px, none is made below
STEP_BACK = 0.35  # of the distance to the landmark: how far the first camera stands behind the photo it is taken from
FIRST_ASPECT = 1.5  # width by height of the window that the first field of view is chosen for


class Browser:
    """Serves browser windows until it is stopped.

    Args:
        host: address to listen on; 127.0.0.1 accepts connections from this machine only. There is no password.
        port: port to listen on; the next free one where it is taken; 0: any.
        windows: open at a time, at most.
        splats: Gaussians that a browser draws at most, those with the largest opacity times area.
        still_size: px, long side of the picture that the field renders when the camera rests; 0: none.
        rest_s: s without motion until it is rendered.
        upload_mb: MB of an uploaded file at most.
        cameras: photos' cameras drawn in the scene at most.
        thumbnail: px, height of the photos in them.
        memory_mb: MB that rendering a part of a picture may take.
        part_radius, min_elements, max_parts: how connected parts are found, see `PartOptions`.
    """

    extra_packages: ClassVar[Mapping[str, str]] = {"viser": "viewer"}  # package and extra, read before any stage runs

    def __init__(
        self,
        host: Text = "127.0.0.1",
        port: Annotated[int, Interval(ge=0, le=65535)] = 8080,
        windows: PositiveInt = 16,
        splats: PositiveInt = 100_000,
        still_size: NonNegativeInt = 960,
        rest_s: NonNegativeFloat = 0.4,
        upload_mb: PositiveFloat = 25.0,
        cameras: NonNegativeInt = 150,
        thumbnail: Annotated[int, Interval(ge=8, le=4096)] = 96,
        memory_mb: PositiveFloat = 512.0,
        part_radius: PositiveFloat = 3.0,
        min_elements: PositiveInt = 10,
        max_parts: PositiveInt = 50,
    ) -> None:
        self.host, self.port, self.max_windows, self.max_splats = host, port, windows, splats
        self.still_size, self.rest_s, self.upload_mb = still_size, rest_s, upload_mb
        self.cameras, self.thumbnail, self.memory_mb = cameras, thumbnail, memory_mb
        self.parts = PartOptions(part_radius, min_elements, max_parts)
        self.windows: dict[int, Window] = {}
        self._lock = threading.Lock()
        self._server: viser.ViserServer | None = None

    def start(
        self, session: QuerySession, folder: Path, words: Sequence[str] = (), concepts: Sequence[str] = ()
    ) -> str:
        """Start the server; its URL. Arguments as in `halonerf.protocols.Viewer`."""
        import viser

        self.engine, self.folder, self.words = self._engine(session, concepts), folder, tuple(words)
        self._still_size = self._affordable_still_size()
        for word in self.words:
            self.engine.find(word)  # cached for the first window
        with contextlib.redirect_stdout(io.StringIO()):  # viser prints a box; `directions` has the text
            server = self._server = viser.ViserServer(host=self.host, port=self.port, verbose=False)
        server.gui.configure_theme(dark_mode=True, show_logo=False, show_share_button=False, brand_color=BRAND_COLOUR)
        server.gui.main_panel.dock_right()
        server.gui.set_panel_label(self.engine.scene.name)
        server.scene.set_up_direction("+z")
        first = best_overview(self.engine.scene.views, self.engine)
        forward, distance = first.camera_to_world[:, 2].double(), self.engine.distance(first.centre)
        eye = first.centre.double() - STEP_BACK * distance * forward
        server.initial_camera.position = eye.numpy()
        server.initial_camera.look_at = (eye + (1 + STEP_BACK) * distance * forward).numpy()
        server.initial_camera.up = np.array([0.0, 0.0, 1.0])
        server.initial_camera.fov = framing_fov(first, FIRST_ASPECT)
        server.on_client_connect(self._connected)
        server.on_client_disconnect(self._disconnected)
        host = "127.0.0.1" if self.host in ("0.0.0.0", "") else self.host
        return f"http://{host}:{server.get_port()}"

    def stop(self) -> None:
        """Close all windows and the server."""
        if self._server is not None:
            for window in list(self.windows.values()):
                window.close()
            with contextlib.redirect_stdout(io.StringIO()):
                self._server.stop()
            self._server = None

    def wait(self) -> None:
        """Block until SIGINT (Ctrl-C) or SIGTERM."""
        wait_for_end()

    def directions(self, address: str) -> str:
        """How to open the window on this machine and from another one, as text."""
        port = address.rsplit(":", 1)[1]
        lines = [
            f"Open {address} in a browser; Ctrl-C ends.",
            f"From another machine: ssh -L {port}:127.0.0.1:{port} {socket.gethostname()}  and open http://127.0.0.1:{port}",
        ]
        if not is_loopback(self.host):
            lines.append(
                "Anyone who can reach this machine can open windows and use its processor: there is no password."
            )
        return "\n".join(lines)

    def _engine(self, session: QuerySession, concepts: Sequence[str]) -> Engine:
        return Engine(session, self.parts, concepts, self.memory_mb, self.max_splats)

    def _affordable_still_size(self) -> int:
        """Long side, px, of the field's pictures: `still_size`, or what takes `MAX_STILL_S`; 0 where that is tiny."""
        size = min(self.still_size, int((self.engine.pixels_per_s * MAX_STILL_S) ** 0.5))
        if size < self.still_size:
            what = f"{size} px" if size >= MIN_STILL_SIZE else "none: this field is too slow on this machine"
            log.warning("explore: pictures of the resting camera: %s, not viewer.still_size=%d", what, self.still_size)
        return size if size >= MIN_STILL_SIZE else 0

    def _connected(self, client: viser.ClientHandle) -> None:
        with self._lock:
            full = len(self.windows) >= self.max_windows
            if not full:
                window = Window(client, self.engine, self.folder, self._still_size, self.rest_s)
                self.windows[client.client_id] = window
        if full:
            client.add_notification(
                "Too many windows",
                f"This viewer serves {self.max_windows} windows at a time (viewer.windows); close one and reload.",
                with_close_button=False,
            )
            return
        refuse_large_uploads(client, self.upload_mb)
        self._add_panels(window)

    def _disconnected(self, client: viser.ClientHandle) -> None:
        with self._lock:
            window = self.windows.pop(client.client_id, None)
        if window:
            window.close()

    def _add_panels(self, window: Window) -> None:
        gui, cameras = window.client.gui, PhotoCameras(window, self.cameras, self.thumbnail)
        tabs = gui.add_tab_group()
        with tabs.add_tab("Words"):
            WordsPanel(window, self.words)
        with tabs.add_tab("Light"):
            light = LightPanel(window, self.upload_mb)
        with tabs.add_tab("Photos"):
            PhotosPanel(window, light.take, cameras.show)
        with tabs.add_tab("Film"):
            PathPanel(window, self.upload_mb)


def best_overview(views: Sequence[View], engine: Engine) -> View:
    """The view with the largest total opacity of splats inside its picture."""
    centres, opacity = engine.splats.centres.cpu(), engine.splats.opacities.cpu()

    def visible_opacity(view: View) -> float:
        pose = view.world_to_camera
        local = centres @ pose[:, :3].T + pose[:, 3]
        ahead = local[:, 2] > 1e-3
        z = local[:, 2].clamp(min=1e-3)
        x, y = view.fx * local[:, 0] / z + view.cx, view.fy * local[:, 1] / z + view.cy
        inside = ahead & (x > 0) & (x < view.width) & (y > 0) & (y < view.height)
        return float((opacity * inside).sum())

    return max(views, key=visible_opacity)
