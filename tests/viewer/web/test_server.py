"""The running server: its address, hostile clients on the wire, large uploads, and that it ends."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from omegaconf import OmegaConf
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from halonerf.cli import composed
from halonerf.errors import BadInput
from halonerf.pipeline.plan import resolve
from halonerf.protocols import Viewer
from halonerf.queries.connected_parts import PartOptions
from halonerf.stages.specs import SPECS
from halonerf.viewer.web.serving import bound_socket, host_headers
from halonerf.viewer.web.viewer import WebViewer
from helpers.made_web import open_session
from helpers.places import CONF

GIGABYTE = 1_000_000_000


class Running:
    """A viewer that serves."""

    def __init__(self, viewer: WebViewer, address: str) -> None:
        self.viewer, self.address = viewer, address
        self.port = urlsplit(address).port or 0
        self.token = parse_qs(urlsplit(address).query)["token"][0]

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def send(self, head: str, chunk: bytes, count: int) -> tuple[int, bytes]:
        """Bytes of the body that the server took before it hung up, and its answer. chunk: sent `count` times."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as opened:
            opened.sendall(head.encode())
            sent = 0
            with contextlib.suppress(ConnectionError):
                for _ in range(count):
                    sent += opened.send(chunk)
            answer = b""
            with contextlib.suppress(ConnectionError):
                while part := opened.recv(65536):
                    answer += part
            return sent, answer


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("web")
    viewer = WebViewer(port=0, sockets=2, still_size=64, thumbnail=32)
    address = viewer.start(open_session(root), root / "explore", ["red"], ["red", "green"])
    yield Running(viewer, address)
    viewer.stop()


def test_the_address_opens_the_page_and_nothing_else_does(running: Running):
    assert urlsplit(running.address).hostname == "127.0.0.1"
    assert len(running.token) >= 32
    assert running.token != WebViewer().token
    status, page = running.get(f"/?token={running.token}")
    assert status == 200
    assert b"app/live.js" in page
    assert running.get("/")[0] == 401
    assert running.get("/api/scene")[0] == 401
    status, facts = running.get("/api/scene", **{"X-HaloNeRF-Token": running.token})
    assert status == 200
    assert json.loads(facts)["initial_words"] == ["red"]
    assert running.get("/api/scene", Host="evil.example", **{"X-HaloNeRF-Token": running.token})[0] == 421


def test_a_gigabyte_is_refused_before_it_is_read(running: Running):
    head = (
        f"POST /api/words HTTP/1.1\r\nHost: 127.0.0.1:{running.port}\r\nX-HaloNeRF-Token: {running.token}\r\n"
        "Content-Type: application/json\r\n"
    )
    chunk = bytes(65536)
    sent, answer = running.send(f"{head}Content-Length: {GIGABYTE}\r\n\r\n", chunk, GIGABYTE // len(chunk))
    assert sent < GIGABYTE / 20  # what fits into buffers of the system
    assert not answer or answer.startswith(b"HTTP/1.1 413 ")
    framed = f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n"
    sent, answer = running.send(f"{head}Transfer-Encoding: chunked\r\n\r\n", framed, GIGABYTE // len(chunk))
    assert sent < GIGABYTE / 20
    assert not answer or answer.startswith(b"HTTP/1.1 413 ")
    sent, answer = running.send(f"{head}Content-Length: {GIGABYTE}\r\n\r\n", b"", 0)
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_endless_headers_are_refused(running: Running):
    sent, answer = running.send(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{running.port}\r\n", b"X-A: " + b"a" * 4000, 5000)
    assert sent < 10_000_000
    assert not answer or answer.startswith(b"HTTP/1.1 4")


@pytest.mark.parametrize(
    ("origin", "token"), [("own", "none"), ("http://evil.example", "right"), ("own", "wrong"), (None, "none")]
)
def test_sockets_without_token_or_of_other_pages_are_refused(running: Running, origin: Any, token: str):
    own = f"http://127.0.0.1:{running.port}"
    value = {"right": running.token, "wrong": "x" * len(running.token)}.get(token)
    headers = {"Cookie": f"halonerf_{running.port}={value}"} if value else {}
    with pytest.raises(InvalidStatus) as refused, connect(
        f"ws://127.0.0.1:{running.port}/api/progress", origin=own if origin == "own" else origin,
        additional_headers=headers,
    ):  # fmt: skip
        pass
    assert refused.value.response.status_code == 403


def test_windows_hear_of_progress_up_to_their_number(running: Running):
    own = f"http://127.0.0.1:{running.port}"
    headers = {"Cookie": f"halonerf_{running.port}={running.token}"}
    address = f"ws://127.0.0.1:{running.port}/api/progress"
    with (
        connect(address, origin=own, additional_headers=headers) as one,
        connect(address, origin=own, additional_headers=headers) as two,
    ):
        with pytest.raises(InvalidStatus), connect(address, origin=own, additional_headers=headers):
            pass
        request = urllib.request.Request(
            f"{own}/api/words", b'{"text": "blue"}',
            {"X-HaloNeRF-Token": running.token, "Content-Type": "application/json"},
        )  # fmt: skip
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert json.loads(answer.read())["text"] == "blue"
        for window in (one, two):
            assert json.loads(window.recv(timeout=10)) == {"text": "blue", "share": 1.0}


def test_many_requests_at_once_are_served_or_told_to_come_again(running: Running):
    codes: list[int] = []

    def ask() -> None:
        for _ in range(10):
            codes.append(running.get("/api/scene", **{"X-HaloNeRF-Token": running.token})[0])

    threads = [threading.Thread(target=ask) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(codes) == 400
    assert set(codes) <= {200, 503}
    assert 200 in codes
    assert running.get("/api/scene", **{"X-HaloNeRF-Token": running.token})[0] == 200


def test_it_takes_the_next_free_port_and_frees_it(tmp_path: Path, running: Running):
    viewer = WebViewer(port=running.port, still_size=0)
    address = viewer.start(open_session(tmp_path), tmp_path / "explore")
    port = urlsplit(address).port
    assert port is not None
    assert port > running.port
    viewer.stop()
    viewer.stop()
    assert sum(thread.name == "web viewer" for thread in threading.enumerate()) == 1, "that of the other viewer"
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    bound_socket("127.0.0.1", port).close()


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(BadInput, match=r"viewer\.host=203\.0\.113\.1.*\nUse: viewer\.host=127"):
        bound_socket("203.0.113.1", 8080)
    with pytest.raises(BadInput, match="no such host"):
        bound_socket("no such host", 8080)


def test_the_names_that_are_served_are_those_of_this_machine():
    own = {"localhost:80", "127.0.0.1:80", "[::1]:80", "localhost", "127.0.0.1", "[::1]"}
    assert host_headers("127.0.0.1", 80, ()) == own
    assert socket.gethostname().lower() + ":81" not in host_headers("127.0.0.1", 81, ())
    public = host_headers("0.0.0.0", 81, ("Gpu7.example.org",))
    assert {"gpu7.example.org:81", f"{socket.gethostname().lower()}:81", "localhost:81"} <= public


def test_it_is_a_viewer_whose_directions_name_the_token():
    options = OmegaConf.to_container(OmegaConf.load(CONF / "viewer" / "web.yaml"))
    assert isinstance(options, dict)
    options.pop("_target_")
    options |= {"part_radius": 2.0, "min_elements": 4, "max_parts": 9}
    viewer = WebViewer(**options)
    assert isinstance(viewer, Viewer)
    assert viewer.parts == PartOptions(2.0, 4, 9)
    said = viewer.directions("http://127.0.0.1:8080/?token=abc")
    assert "Open http://127.0.0.1:8080/?token=abc " in said
    assert "ssh -L 8080:127.0.0.1:8080" in said
    assert "encryption" not in said
    assert "encryption" in WebViewer(host="0.0.0.0").directions("http://127.0.0.1:8080/?token=abc")


@pytest.mark.parametrize("given", ["viewer.names=gpu7", "viewer.port=70000", "viewer.body_mb=0", "viewer.sockets=0"])
def test_options_out_of_range_are_refused_before_any_stage_runs(given: str, tmp_path: Path):
    with pytest.raises(BadInput, match=given.split("=")[0]):
        resolve(composed(["stage=explore", "viewer=web", f"artifacts={tmp_path}", given]))


def test_its_packages_are_known_without_importing_it():
    config = composed(["stage=explore", "viewer=web"])
    assert SPECS["Explore"].extra_packages(config.explore).keys() == {"fastapi", "uvicorn", "websockets"}
