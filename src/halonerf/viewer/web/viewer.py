"""The web viewer: the shared page, live, on a server of this machine."""

from __future__ import annotations

import logging
import secrets
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_types import Interval

from halonerf.config.option_types import Component, NonNegativeInt, PositiveFloat, PositiveInt, Text
from halonerf.process.waiting import wait_for_end
from halonerf.queries.connected_parts import PartOptions
from halonerf.queries.session import QuerySession
from halonerf.viewer.engine import Engine
from halonerf.viewer.hosts import is_loopback
from halonerf.viewer.web.app import make_app
from halonerf.viewer.web.films import FilmStudio
from halonerf.viewer.web.guard import Guard, Limits
from halonerf.viewer.web.live_scene import LiveScene
from halonerf.viewer.web.note_book import NoteBook
from halonerf.viewer.web.serving import RunningServer, bound_socket, host_headers
from halonerf.viewer.web.teaching import Teaching

log = logging.getLogger("halonerf")

MAX_STILL_S, MIN_STILL_SIZE = 1.0, 96  # s that a picture of the resting camera may take; px, none is made below


class WebViewer:
    """Serves the page of `stage=share`, live, until it is stopped.

    Args:
        host: address to listen on; 127.0.0.1 accepts connections from this machine only.
        port: port to listen on; the next free one where it is taken; 0: any.
        names: further host names under which browsers may reach it.
        sockets: windows at a time, at most, that are told of progress.
        requests: answered at a time, at most.
        body_mb: MB of a request at most. upload_mb: of an uploaded photo, path or file of marks.
        splats: Gaussians that a browser draws at most, those with the largest opacity times area.
        still_size: px, long side of the picture that the field renders when the camera rests, where the browser has not
            all of its Gaussians; smaller, or none, where that would take longer than `MAX_STILL_S`; 0: none.
        picture_size: px, long side of pictures and films at most.
        thumbnail: px, long side of the photos in the strip.
        memory_mb: MB that rendering a part of a picture may take.
        teaching: config of a `FewShotHead`, which learns words from marks in photos; None: nothing can be taught.
        interactive_segmenter: config of an `InteractiveSegmenter`, whose masks marks in photos can snap to; None: they
            cannot.
        part_radius, min_elements, max_parts: how connected parts are found, see `PartOptions`.
    """

    extra_packages: ClassVar[Mapping[str, str]] = {"fastapi": "viewer", "uvicorn": "viewer", "websockets": "viewer"}

    def __init__(
        self,
        host: Text = "127.0.0.1",
        port: Annotated[int, Interval(ge=0, le=65535)] = 8080,
        names: Sequence[str] = (),
        sockets: PositiveInt = 16,
        requests: PositiveInt = 32,
        body_mb: PositiveFloat = 1.0,
        upload_mb: PositiveFloat = 25.0,
        splats: PositiveInt = 100_000,
        still_size: NonNegativeInt = 960,
        picture_size: Annotated[int, Interval(ge=16, le=8192)] = 3840,
        thumbnail: Annotated[int, Interval(ge=8, le=4096)] = 240,
        memory_mb: PositiveFloat = 512.0,
        teaching: Component | None = None,
        interactive_segmenter: Component | None = None,
        part_radius: PositiveFloat = 3.0,
        min_elements: PositiveInt = 10,
        max_parts: PositiveInt = 50,
    ) -> None:
        self.host, self.port, self.names = host, port, tuple(names)
        self.limits = Limits(requests, sockets, int(body_mb * 1e6), int(upload_mb * 1e6))
        self.max_splats, self.thumbnail, self.memory_mb = splats, thumbnail, memory_mb
        self.still_size, self.picture_size = still_size, picture_size
        self.parts = PartOptions(part_radius, min_elements, max_parts)
        self.teaching, self.interactive_segmenter = teaching, interactive_segmenter
        self.token = secrets.token_urlsafe(32)
        self._server: RunningServer | None = None
        self._studio: FilmStudio | None = None

    def start(
        self, session: QuerySession, folder: Path, words: Sequence[str] = (), concepts: Sequence[str] = ()
    ) -> str:
        """Start the server; its URL, with the token in it. Arguments as in `halonerf.protocols.Viewer`."""
        self.engine = Engine(session, self.parts, concepts, self.memory_mb, self.max_splats)
        for word in words:
            self.engine.find(word)  # cached for the first window
        still_size = affordable_still_size(self.engine, self.still_size)
        scene = LiveScene(self.engine, folder, words, still_size, self.picture_size, self.thumbnail)
        self._studio = FilmStudio(self.engine, folder / "films", self.picture_size, scene.board.publish)
        log.info("explore: %d splats, %.1f MB", len(self.engine.splats), len(scene.splats) / 1e6)
        listening = bound_socket(self.host, self.port)
        port = listening.getsockname()[1]
        hosts = host_headers(self.host, port, self.names)
        teaching = Teaching(self.engine, folder, self.teaching, self.interactive_segmenter)
        app = make_app(scene, self._studio, NoteBook(folder), teaching)
        guarded = Guard(app, hosts, self.token, f"halonerf_{port}", self.limits)
        self._server = RunningServer(guarded, listening, self.limits)
        shown = "[::1]" if self.host == "::1" else "127.0.0.1"
        return f"http://{shown}:{port}/?token={self.token}"

    def directions(self, address: str) -> str:
        """How to open the page on this machine and from another one, as text."""
        port = address.rpartition("/?")[0].rpartition(":")[2]
        lines = [
            f"Open {address} in a browser; Ctrl-C ends. Without the token in it, nothing is served.",
            f"From another machine: ssh -L {port}:127.0.0.1:{port} {socket.gethostname()}  and open the same address.",
        ]
        if not is_loopback(self.host):
            lines.append(
                "Other machines can connect, without encryption: who reads the traffic between them reads the token."
            )
        return "\n".join(lines)

    def wait(self) -> None:
        """Block until SIGINT (Ctrl-C) or SIGTERM."""
        wait_for_end()

    def stop(self) -> None:
        """Give up films that are not finished; close all connections and the server."""
        if self._studio is not None:
            self._studio.close()
            self._studio = None
        if self._server is not None:
            self._server.stop()
            self._server = None


def affordable_still_size(engine: Engine, wanted: int) -> int:
    """Long side, px, of the field's pictures of the resting camera: `wanted`, or what takes `MAX_STILL_S`.

    0 where that is tiny, and where the browser draws all that the field has.
    """
    if engine.is_drawn_whole:
        return 0
    size = min(wanted, int((engine.pixels_per_s * MAX_STILL_S) ** 0.5))
    size = size if size >= MIN_STILL_SIZE else 0
    if size < wanted:
        what = f"{size} px" if size else "none: this field is too slow on this machine"
        log.warning("explore: pictures of the resting camera: %s, not viewer.still_size=%d", what, wanted)
    return size
