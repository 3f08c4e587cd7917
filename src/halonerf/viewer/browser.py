"""The viewer in a browser: a small web server of our own (viser), a window for everybody who opens its address."""

from __future__ import annotations

import contextlib
import io
import ipaddress
import logging
import signal
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from halonerf.errors import BadInput, require
from halonerf.queries.session import QuerySession
from halonerf.types import View
from halonerf.viewer.cameras import framing
from halonerf.viewer.engine import Engine
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

BRAND = (204, 140, 40)
STILL_S, LEAST_STILL = 3.0, 96  # s that a picture of the resting camera may take; px below which there is none
BACK = 0.35  # share of its distance by which the first view stands behind the photo it is taken from


class Browser:
    """Serves windows until it is told to stop.

    Args:
        host: the address to listen at; 127.0.0.1 is reached from this machine alone. There is no password.
        port: the port to listen at; the next free one where it is taken; 0: any.
        windows: at most, at a time.
        splats: Gaussians that a browser draws at most, those with the largest opacity times area.
        still_size: px, long side of the field's own picture, drawn when the camera rests; 0: none.
        rest_s: s without motion until that is drawn.
        upload_mb: MB of an uploaded file at most.
        cameras: photos' cameras drawn in the scene at most.
        thumbnail: px, height of the photos in them.
        memory_mb: MB that drawing a part of a picture may take.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 8080,
        windows: int = 16,
        splats: int = 100_000,
        still_size: int = 960,
        rest_s: float = 0.4,
        upload_mb: float = 25.0,
        cameras: int = 150,
        thumbnail: int = 96,
        memory_mb: float = 512.0,
    ) -> None:
        if windows < 1 or splats < 1 or cameras < 0 or thumbnail < 8 or still_size < 0 or not 0 <= port < 65536:
            raise BadInput(
                "expected viewer.windows and viewer.splats >= 1, viewer.cameras >= 0, viewer.thumbnail >= 8, "
                "viewer.still_size >= 0 and viewer.port below 65536, got "
                f"{windows}, {splats}, {cameras}, {thumbnail}, {still_size} and {port}"
            )
        self.host, self.port, self.most_windows, self.most_splats = host, port, windows, splats
        self.still_size, self.rest_s, self.upload_mb = still_size, rest_s, upload_mb
        self.cameras, self.thumbnail, self.memory_mb = cameras, thumbnail, memory_mb
        self.windows: dict[int, Window] = {}
        self._lock = threading.Lock()
        self._server: viser.ViserServer | None = None

    def start(self, scene: QuerySession, folder: Path, words: Sequence[str] = ()) -> str:
        """Begin to serve; gives the address.

        Args:
            scene: the landmark.
            folder: where pictures, films and paths that people save are kept.
            words: found in every new window.
        """
        require("viser", "viewer")
        import viser

        self.engine, self.folder, self.words = self._engine(scene), folder, tuple(words)
        self._still_size = self._bearable()
        for word in self.words:
            self.engine.find(word)  # before the first window asks
        with contextlib.redirect_stdout(io.StringIO()):  # it shows its address in a box; we say it in our own words
            server = self._server = viser.ViserServer(host=self.host, port=self.port, verbose=False)
        server.gui.configure_theme(dark_mode=True, show_logo=False, show_share_button=False, brand_color=BRAND)
        server.gui.main_panel.dock_right()
        server.gui.set_panel_label(scene.data.name)
        server.scene.set_up_direction("+z")
        first = best_overview(scene.data.views, self.engine)
        ahead, away = first.camera_to_world[:, 2].double(), self.engine.distance(first.centre)
        eye = first.centre.double() - BACK * away * ahead
        server.initial_camera.position = eye.numpy()
        server.initial_camera.look_at = (eye + (1 + BACK) * away * ahead).numpy()
        server.initial_camera.up = np.array([0.0, 0.0, 1.0])
        server.initial_camera.fov = framing(first, 1.5)
        server.on_client_connect(self._opened)
        server.on_client_disconnect(self._closed)
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
        """Serve until Ctrl-C, or until the process is asked to end."""
        stopped = threading.Event()
        before = {number: signal.signal(number, lambda *_: stopped.set()) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            stopped.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def directions(self, address: str) -> str:
        """What to type to look, here and from another machine."""
        port = address.rsplit(":", 1)[1]
        lines = [
            f"Open {address} in a browser; Ctrl-C ends.",
            f"From another machine: ssh -L {port}:127.0.0.1:{port} {socket.gethostname()}  and open http://127.0.0.1:{port}",
        ]
        if not _is_loopback(self.host):
            lines.append("Everybody who can reach this machine can look and let it work: there is no password.")
        return "\n".join(lines)

    def _engine(self, scene: QuerySession) -> Engine:
        return Engine(scene, memory_mb=self.memory_mb, most_splats=self.most_splats)

    def _bearable(self) -> int:
        """px, long side of the field's own pictures: smaller where they would take too long, none where hopeless."""
        size = min(self.still_size, int((self.engine.pixels_per_s * STILL_S) ** 0.5))
        if size < self.still_size:
            what = f"{size} px" if size >= LEAST_STILL else "none: this field is too slow here"
            log.warning("explore: pictures of the resting camera: %s, not viewer.still_size=%d", what, self.still_size)
        return size if size >= LEAST_STILL else 0

    def _opened(self, client: viser.ClientHandle) -> None:
        with self._lock:
            full = len(self.windows) >= self.most_windows
            if not full:
                window = Window(client, self.engine, self.folder, self._still_size, self.rest_s)
                self.windows[client.client_id] = window
        if full:
            client.add_notification(
                "Too many windows",
                f"This viewer serves {self.most_windows} windows at a time (viewer.windows); close one and reload.",
                with_close_button=False,
            )
            return
        refuse_large_uploads(client, self.upload_mb)
        self._furnish(window)

    def _closed(self, client: viser.ClientHandle) -> None:
        with self._lock:
            window = self.windows.pop(client.client_id, None)
        if window:
            window.close()

    def _furnish(self, window: Window) -> None:
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
    """The photo's camera that has most of the landmark in its picture."""
    centres, opacity = engine.splats.centres.cpu(), engine.splats.opacities.cpu()

    def shown(view: View) -> float:
        pose = view.world_to_camera
        points = centres @ pose[:, :3].T + pose[:, 3]
        ahead = points[:, 2] > 1e-3
        z = points[:, 2].clamp(min=1e-3)
        x, y = view.fx * points[:, 0] / z + view.cx, view.fy * points[:, 1] / z + view.cy
        inside = ahead & (x > 0) & (x < view.width) & (y > 0) & (y < view.height)
        return float((opacity * inside).sum())

    return max(views, key=shown)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
