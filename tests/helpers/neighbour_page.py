"""A page of another origin on this machine, and what it tries with a server that does not want it."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# Called with the host and port of the server; gives what came of each attempt: "refused", or something else.
ATTEMPTS = """async (target) => {
  const tried = {};
  const attempt = (name, act) => act().then((value) => tried[name] = String(value), () => tried[name] = "refused");
  const get = (mode) => fetch(`http://${target}/api/scene`, { mode, credentials: "include" });
  const load = (tag, path) => new Promise((done, failed) => {
    const node = document.createElement(tag);
    [node.onload, node.onerror, node.src] = [() => done("loaded"), failed, `http://${target}${path}`];
    document.head.append(node);
  });
  await attempt("read", async () => (await get("cors")).text());
  await attempt("blind", async () => (await get("no-cors")).type);
  await attempt("image", () => load("img", "/api/photos/0/picture"));
  await attempt("script", () => load("script", "/app/sort.js"));
  await attempt("socket", () => new Promise((done, failed) => {
    const socket = new WebSocket(`ws://${target}/api/progress`);
    [socket.onopen, socket.onerror] = [() => done("open"), failed];
  }));
  return tried;
}"""


@contextmanager
def served(folder: Path) -> Iterator[int]:
    """Serve a folder on a free port while it is open; the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(SimpleHTTPRequestHandler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
