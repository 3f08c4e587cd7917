"""A uvicorn server in a thread, on a socket that is bound before it starts."""

from __future__ import annotations

import socket
import threading
import time

import uvicorn

from halonerf.errors import BadInput
from halonerf.viewer.hosts import is_loopback
from halonerf.viewer.web.guard import App, Limits

PORTS = 100  # tried after the wanted one
START_S, STOP_S = 20.0, 3.0
MAX_HEADER_BYTES = 32_768
CONNECTIONS_PER_WINDOW = 8  # browsers open six for requests
BACKLOG = 128


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket on `port`, or on the next free one; 0: on any.

    Raises: BadInput where there is none, or the address is not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in range(port, min(port + PORTS, 65536)) if port else (0,):
        opened = socket.socket(family, socket.SOCK_STREAM)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind((host, candidate))
            opened.listen(BACKLOG)
            return opened
        except OSError as error:
            opened.close()
            reason = error
            if isinstance(error, socket.gaierror):
                break
    raise BadInput(
        f"expected an address of this machine with a free port, got viewer.host={host} viewer.port={port}: {reason}\n"
        "Use: viewer.host=127.0.0.1 viewer.port=0"
    )


def host_headers(host: str, port: int, names: tuple[str, ...]) -> set[str]:
    """The values of the header `Host` that are served, in small letters.

    names: further host names of this machine, besides its own where other machines can connect.
    """
    found = {"localhost", "127.0.0.1", "[::1]", *names}
    if not is_loopback(host):
        found |= {host, socket.gethostname()}
    found = {name.lower() for name in found}
    return {f"{name}:{port}" for name in found} | (found if port == 80 else set())


class RunningServer:
    """Serves an application from a thread until `stop`.

    Raises: BadInput where the server does not start.
    """

    def __init__(self, app: App, listening: socket.socket, limits: Limits) -> None:
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, lifespan="off", proxy_headers=False, server_header=False,
            ws_max_size=limits.body, h11_max_incomplete_event_size=MAX_HEADER_BYTES, http="h11",
            limit_concurrency=limits.requests + CONNECTIONS_PER_WINDOW * limits.sockets,
            timeout_graceful_shutdown=int(STOP_S),
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listening]}, name="web viewer", daemon=True
        )
        self._thread.start()
        deadline = time.monotonic() + START_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise BadInput("expected the web server to start, and it did not: the log above says why")
            time.sleep(0.01)

    def stop(self) -> None:
        """End all connections; returns when the thread has ended."""
        self._server.should_exit = True
        self._thread.join(2 * STOP_S)
