"""Hostile requests to a running server, one after the other, as a table: `pytest -s tests/viewer/web/test_hostile.py`.

Each row is asserted; the table in docs/explore.md is what this prints.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from PIL import Image
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from halonerf.viewer.web.viewer import WebViewer
from helpers.made_web import HOSTILE, open_session

MANY, THREADS = 10_000, 8
GIGABYTE, CHUNK = 1_000_000_000, bytes(65536)
ROWS: list[tuple[str, str]] = []
KNOWN = {"known": ""}  # the token is sent


class Target:
    """A server that is attacked by a client on this machine, who knows the token or does not."""

    def __init__(self, address: str) -> None:
        self.port = urlsplit(address).port or 0
        self.token = parse_qs(urlsplit(address).query)["token"][0]
        self.known = {"X-HaloNeRF-Token": self.token}

    def ask(self, path: str, body: bytes | None = None, method: str = "", **headers: str) -> tuple[int, bytes]:
        """Status and body of an answer; headers with "_" for "-"."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method or ("GET" if body is None else "POST"), path, body, named)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content

    def upload(self, head: str, chunk: bytes) -> tuple[int, str]:
        """Bytes of a gigabyte that the server took before it hung up, and the first line of its answer."""
        lines = f"POST /api/uploads/light HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nX-HaloNeRF-Token: {self.token}\r\n"
        sent, answer = 0, b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as opened:
            opened.sendall(f"{lines}{head}\r\n\r\n".encode())
            with contextlib.suppress(ConnectionError):
                while sent < GIGABYTE:
                    sent += opened.send(chunk)
            with contextlib.suppress(ConnectionError):
                answer = opened.recv(65536)
        return sent, answer.split(b"\r\n")[0].decode() or "connection closed"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    root = tmp_path_factory.mktemp("hostile")
    viewer = WebViewer(port=0, thumbnail=32)
    target = Target(viewer.start(open_session(root, encodes=True), root / "explore", [], ["red"]))
    yield target
    viewer.stop()
    print("\n\n| request | answer |\n|---|---|")
    for request, answer in ROWS:
        print(f"| {request} | {answer} |")


@pytest.fixture(autouse=True)
def still_serving(target: Target) -> Iterator[None]:
    """After whatever was sent, a person's window is served."""
    yield
    assert target.ask("/api/scene", **target.known)[0] == 200


def resident_mb() -> float:
    """Resident memory of this process, which serves and attacks, MB."""
    found = re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found.group(1)) / 1024


@pytest.mark.parametrize(
    ("said", "path", "headers", "status"),
    [
        ("no token", "/api/scene", {}, 401),
        ("a wrong token", "/api/scene", {"X_HaloNeRF_Token": "x" * 43}, 401),
        ("a foreign `Host`, with the token", "/api/scene", {"Host": "evil.example"}, 421),
        ("a foreign `Origin`, with the token", "/api/scene", {"Origin": "http://evil.example"}, 403),
        ("the `Origin` of another port", "/api/scene", {"Origin": "http://127.0.0.1:1"}, 403),
        ("an image or script in another page", "/api/photos/0/picture", {"Sec_Fetch_Site": "cross-site"}, 403),
        ("`/app/..%2Fdocument.py`", "/app/..%2Fdocument.py", KNOWN, 404),
        ("`/api/photos/..%2F..%2Fetc%2Fpasswd/picture`", "/api/photos/..%2F..%2Fetc%2Fpasswd/picture", KNOWN, 404),
    ],
)
def test_requests_of_others(target: Target, said: str, path: str, headers: dict[str, str], status: int):
    own = {} if "token" in said and "with" not in said else target.known
    answer, content = target.ask(path, **{**own, **{name: value for name, value in headers.items() if name != "known"}})
    assert answer == status
    assert b"passwd:" not in content
    ROWS.append((said, str(answer)))


@pytest.mark.parametrize(
    ("said", "headers"),
    [
        ("a socket without the token", {}),
        ("a socket of another page, with the token", {"Origin": "http://evil.example", "X-HaloNeRF-Token": ""}),
    ],
)
def test_sockets_of_others(target: Target, said: str, headers: dict[str, str]):
    given = {name: value or target.token for name, value in headers.items()}
    with (
        pytest.raises(InvalidStatus) as refused,
        connect(f"ws://127.0.0.1:{target.port}/api/progress", additional_headers=given),
    ):
        pass
    ROWS.append((said, str(refused.value.response.status_code)))


@pytest.mark.slow
def test_ten_thousand_requests(target: Target):
    before = resident_mb()

    def burst(count: int) -> list[int]:
        connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=60)
        found = []
        for _ in range(count):
            connection.request("GET", "/api/lights", headers=target.known)
            answer = connection.getresponse()
            answer.read()
            found.append(answer.status)
        return found

    started = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        statuses = [status for one in pool.map(burst, [MANY // THREADS] * THREADS) for status in one]
    seconds = time.perf_counter() - started
    assert set(statuses) <= {200, 503}
    grown = resident_mb() - before
    assert grown < 100
    said = f"{statuses.count(200):,} served in {seconds:.0f} s, {grown:.0f} MB more memory"
    ROWS.append((f"{MANY:,} requests over {THREADS} connections", said))


@pytest.mark.parametrize(
    ("said", "head", "framed", "most"),
    [
        ("an upload of 1 GB that says so", f"Content-Length: {GIGABYTE}", False, 20_000_000),
        ("an upload of 1 GB that does not say its length", "Transfer-Encoding: chunked", True, 60_000_000),
    ],
)
def test_a_gigabyte(target: Target, said: str, head: str, framed: bool, most: int):
    before = resident_mb()
    chunk = f"{len(CHUNK):x}\r\n".encode() + CHUNK + b"\r\n" if framed else CHUNK
    sent, answer = target.upload(head, chunk)
    assert sent < most
    assert answer.startswith("HTTP/1.1 413") or answer == "connection closed"
    assert resident_mb() - before < 150
    ROWS.append((said, f"refused (413) after {sent / 1e6:.0f} MB, buffers of the system included"))


SVG = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"
PICKLE = b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x04evil\x94."
POSE = b"[[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]"
PATH = b'{"keyframes": [{"camera_to_world": %b, "light": "/etc/passwd"}]}' % POSE


def bomb() -> bytes:
    """A picture of 900 megapixels."""
    buffer = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(buffer, "PNG")
    return buffer.getvalue()


FILES = (
    ("an image of 900 megapixels in 110 kB", bomb, "/api/uploads/light"),
    ("an SVG with a script", lambda: SVG, "/api/uploads/light"),
    ("a pickle", lambda: PICKLE, "/api/uploads/light"),
    ("a path whose light is `/etc/passwd`", lambda: PATH, "/api/uploads/path"),
    ("JSON with 100,000 brackets", lambda: b"[" * 100_000, "/api/uploads/path"),
)


@pytest.mark.parametrize(("said", "made", "path"), FILES, ids=[said for said, _, _ in FILES])
def test_hostile_files(target: Target, said: str, made: Callable[[], bytes], path: str):
    content, before = made(), resident_mb()
    status, answer = target.ask(path, content, **target.known)
    assert status == 400
    assert b"expected" in answer
    assert resident_mb() - before < 60
    ROWS.append((said, str(status)))


def test_html_in_every_name(target: Target):
    said = quote(HOSTILE)
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    note = {"kind": "note", "text": HOSTILE, "point": [0, 0, 0]}
    view = {"kind": "view", "name": HOSTILE, "address": "#"}
    for path, body in (("/api/words", {"text": HOSTILE}), ("/api/notes", note), ("/api/notes", view)):
        target.ask(path, json.dumps(body).encode(), Content_Type="application/json", **target.known)
    target.ask(f"/api/uploads/light?name={said}", buffer.getvalue(), **target.known)
    status, page = target.ask(f"/?token={target.token}")
    assert status == 200
    assert HOSTILE.encode() not in page
    assert b"&lt;/script&gt;" in page
    for path in ("/api/scene", "/api/notes", "/api/lights"):
        connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=60)
        connection.request("GET", path, headers=target.known)
        answer = connection.getresponse()
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        answer.read()
    ROWS.append(("HTML as landmark, caption, word, note, view and file name", "kept as text, shown as text"))
