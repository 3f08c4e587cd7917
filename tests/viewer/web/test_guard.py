"""What the guard refuses: foreign hosts and origins, missing tokens, large bodies, too many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from halonerf.viewer.web.guard import Guard, Limits
from helpers.made_web import COOKIE, HEADER, HOST, TOKEN, client

OURS = f"http://{HOST}"


async def show(_: Request) -> PlainTextResponse:
    return PlainTextResponse("the page")


async def take(request: Request) -> JSONResponse:
    return JSONResponse(len(await request.body()))


async def greet(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("hello")
    await socket.close()


INNER = Starlette(
    routes=[
        Route("/", show),
        Route("/api/x", show),
        Route("/take", take, methods=["POST"]),
        WebSocketRoute("/ws", greet),
    ]
)


def guard(**limits: int) -> Guard:
    return Guard(INNER, {HOST, "localhost:8080"}, TOKEN, COOKIE, Limits(**limits))


@pytest.fixture
def known() -> TestClient:
    return client(guard())


@pytest.fixture
def unknown() -> TestClient:
    return client(guard(), None)


def test_the_first_load_exchanges_the_token_for_a_cookie(unknown: TestClient):
    first = unknown.get(f"/?token={TOKEN}")
    assert (first.status_code, first.text) == (200, "the page")
    cookie = first.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}={TOKEN};")
    for attribute in ("HttpOnly", "SameSite=Strict", "Path=/"):
        assert attribute in cookie
    assert "Domain" not in cookie
    second = unknown.get("/api/x")
    assert second.status_code == 200
    assert "set-cookie" not in second.headers


@pytest.mark.parametrize(
    "path", ["/", "/api/x", "/app/live.js", "/openapi.json", f"/api/x?token={TOKEN}", "/?token=", "/?token=é"]
)
def test_nothing_is_served_without_the_token(unknown: TestClient, path: str):
    answer = unknown.get(path)
    assert answer.status_code == 401
    assert "terminal" in answer.text
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"x-halonerf-token": "wrong"},
        {"x-halonerf-token": ""},
        {"cookie": f"{COOKIE}=wrong"},
        {"cookie": f"other={TOKEN}"},
        {"cookie": '"\\'},
    ],
)
def test_a_wrong_token_is_none(unknown: TestClient, headers: dict[str, str]):
    assert unknown.get("/api/x", headers=headers).status_code == 401


FOREIGN_HOSTS = (
    "evil.example",
    "evil.example:8080",
    "127.0.0.1",
    "127.0.0.1:8081",
    "127.0.0.1:8080.evil.example",
    "",
    "localhost",
)


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_a_foreign_host_is_refused_even_with_the_token(known: TestClient, host: str):
    answer = known.get("/api/x", headers={"host": host})
    assert answer.status_code == 421
    assert "the page" not in answer.text


def test_cookies_of_other_programs_on_this_machine_do_not_matter(unknown: TestClient):
    for other in ('state={"a": [1, 2]}', 'quoted="a; b', "=", "é=ü"):
        cookie = f"{other}; {COOKIE}={TOKEN}".encode()
        assert unknown.get("/api/x", headers=[(b"cookie", cookie)]).status_code == 200


def test_a_foreign_host_gets_no_cookie(unknown: TestClient):
    answer = unknown.get(f"/?token={TOKEN}", headers={"host": "evil.example"})
    assert answer.status_code == 421
    assert "set-cookie" not in answer.headers


def test_both_names_of_this_machine_are_served(known: TestClient):
    for host in (HOST, "localhost:8080", "LOCALHOST:8080"):
        assert known.get("/api/x", headers={"host": host}).status_code == 200


FOREIGN_ORIGINS = (
    "http://evil.example",
    "https://127.0.0.1:8080",
    "http://127.0.0.1:9000",
    "http://localhost:8080",
    "null",
    "",
)


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
def test_a_foreign_origin_is_refused_even_with_the_token(known: TestClient, origin: str):
    for send in (known.get, known.post):
        assert send("/api/x", headers={"origin": origin}).status_code == 403


def test_the_own_origin_is_served(known: TestClient):
    assert known.get("/api/x", headers={"origin": OURS, "sec-fetch-site": "same-origin"}).status_code == 200
    assert known.get("/api/x", headers={"sec-fetch-site": "none"}).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pages_of_other_sites_and_ports_read_nothing(known: TestClient, site: str):
    """An image, a script or a form of another page comes without an origin, but says where from."""
    headers = {"sec-fetch-site": site, "cookie": f"{COOKIE}={TOKEN}"}
    assert known.get("/api/x", headers=headers).status_code == 403
    assert known.get("/", headers=headers).status_code == 403
    followed = known.get(f"/?token={TOKEN}", headers={"sec-fetch-site": site})
    assert followed.status_code == 200, "the printed address, followed from a chat"


@pytest.mark.parametrize("header", ["host", "origin", "content-length", "x-halonerf-token"])
def test_headers_that_decide_come_once(known: TestClient, header: str):
    own = {"host": HOST, "origin": OURS, "content-length": "0", **HEADER}
    twice = [*own.items(), (header, own[header])]
    assert TestClient(guard(), base_url=OURS).get("/api/x", headers=twice).status_code == 400


def test_every_answer_has_the_protecting_headers(known: TestClient):
    for answer in (known.get("/"), known.get("/nowhere"), known.get("/", headers={"host": "evil.example"})):
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": OURS},
        {"origin": "http://evil.example", **HEADER},
        {"origin": "http://evil.example", "cookie": f"{COOKIE}={TOKEN}"},
        {"cookie": f"{COOKIE}={TOKEN}"},
        {"host": "evil.example", **HEADER},
        {"origin": OURS, "cookie": f"{COOKIE}=wrong"},
    ],
)
def test_a_socket_needs_the_token_and_the_own_origin(unknown: TestClient, headers: dict[str, str]):
    with pytest.raises(WebSocketDisconnect), unknown.websocket_connect(f"ws://{HOST}/ws", headers=headers):
        pass


@pytest.mark.parametrize("headers", [HEADER, {"origin": OURS, "cookie": f"{COOKIE}={TOKEN}"}])
def test_a_socket_of_the_page_or_of_a_program_is_served(unknown: TestClient, headers: dict[str, str]):
    with unknown.websocket_connect(f"ws://{HOST}/ws", headers=headers) as socket:
        assert socket.receive_text() == "hello"


def test_a_large_body_is_refused_by_its_length_or_while_it_comes():
    small = client(guard(body=1000))
    assert small.post("/take", content=bytes(1000)).json() == 1000
    answer = small.post("/take", content=bytes(1001))
    assert answer.status_code == 413
    assert "1,000 bytes" in answer.json()["detail"]
    assert answer.headers["connection"] == "close"
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(50):
            sent += 100
            yield bytes(100)

    assert small.post("/take", content=endless()).status_code == 413
    for length in ("-1", "many", "1e3", "9" * 5000):
        assert small.post("/take", content=b"", headers={"content-length": length}).status_code == 413


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_no_more_than_the_limit_are_served_at_a_time(kind: str):
    """Two are held open, the third is refused, and the fourth is served after the first two ended."""

    async def run() -> list[str]:
        release, answers = asyncio.Event(), []

        async def hold(scope: Any, receive: Any, send: Any) -> None:
            await release.wait()

        held = Guard(hold, {HOST}, TOKEN, COOKIE, Limits(requests=2, sockets=2))
        names = [(b"host", HOST.encode()), (b"x-halonerf-token", TOKEN.encode())]
        scope = {"type": kind, "path": "/api/x", "method": "GET", "query_string": b"", "headers": names}

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b""}

        async def send(message: Any) -> None:
            answers.append(str(message.get("status", message.get("code", ""))))

        open_ones = [asyncio.create_task(held(dict(scope), receive, send)) for _ in range(2)]
        await asyncio.sleep(0)
        await held(dict(scope), receive, send)
        release.set()
        await asyncio.gather(*open_ones)
        refused = list(answers)
        await held(dict(scope), receive, send)
        assert answers == refused
        return refused

    assert asyncio.run(run())[0] == {"http": "503", "websocket": "1008"}[kind]
