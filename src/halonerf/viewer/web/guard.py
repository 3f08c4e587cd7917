"""What every request and socket must pass before any route sees it: host, origin, token, size, number.

The server listens on this machine, but any page that is open in the same browser can send requests to it, and a host
name of another's can be made to point at it (DNS rebinding). So a request must name a host that is ours, must not come
from another origin, and must bring the secret of the printed address: as a cookie, which the first load sets, or in
the header `X-HaloNeRF-Token` for other programs.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Collection, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, PlainTextResponse

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

TOKEN_HEADER = b"x-halonerf-token"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
UPLOADS = "/api/uploads/"  # paths whose bodies may be larger than others
MAX_DIGITS = 18  # of a length
POLICY_VIOLATION = 1008  # close code of a refused socket


@dataclass(frozen=True)
class Limits:
    """What the server accepts. requests, sockets: at a time. body: bytes of a request; upload: below `UPLOADS`."""

    requests: int = 32
    sockets: int = 16
    body: int = 1_000_000
    upload: int = 25_000_000

    def bytes_of(self, path: str) -> int:
        """Bytes that a request to a path may have at most."""
        return self.upload if path.startswith(UPLOADS) else self.body


class Refusal(HTTPException):
    """A request that is not served; its connection is closed, so that the rest of a body is not read.

    An HTTPException, since one that is raised while a route reads the body is answered by FastAPI.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(status, detail, {"connection": "close"})


class Guard:
    """ASGI middleware that lets through what comes from the page itself, or from who knows the token.

    Args:
        app: the application behind it.
        hosts: values of the header `Host` that are ours, with port, in small letters.
        token: of the printed address. cookie: name of the cookie that holds it.
    """

    def __init__(self, app: App, hosts: Collection[str], token: str, cookie: str, limits: Limits) -> None:
        self.app, self.hosts, self.token, self.cookie, self.limits = app, frozenset(hosts), token, cookie, limits
        self._open = {"http": 0, "websocket": 0}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in self._open:
            await self.app(scope, receive, send)
            return
        if scope["type"] == "http":
            send = self._with_headers(scope, send)
        try:
            self._check(scope)
            with self._counted(scope["type"]):
                await self.app(scope, self._limited(receive, self.limits.bytes_of(scope["path"])), send)
        except Refusal as refusal:
            await _refuse(scope, receive, send, refusal)

    def _check(self, scope: Scope) -> None:
        headers = _single_headers(scope)
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if host not in self.hosts:
            raise Refusal(421, "This host name is not served here: open the address that the terminal shows.")
        origin = headers.get(b"origin")
        if origin is not None and origin.decode("latin-1").lower() != f"http://{host}":
            raise Refusal(403, "Requests of other pages are refused.")
        if origin is None and scope["type"] == "websocket" and TOKEN_HEADER not in headers:
            raise Refusal(403, "A socket of a page names its origin; a program sends the header X-HaloNeRF-Token.")
        enters = self._enters(scope)
        site = headers.get(b"sec-fetch-site", b"none")
        if site not in (b"same-origin", b"none") and not enters:
            raise Refusal(403, "Requests of other pages are refused.")
        if not enters and not self._is_known(headers):
            raise Refusal(401, "Open the address that the terminal shows: it contains a token that this one lacks.")
        length, most = headers.get(b"content-length", b"0"), self.limits.bytes_of(scope["path"])
        if not length.isdigit() or len(length) > MAX_DIGITS or int(length) > most:
            raise Refusal(413, f"Expected a body of at most {most:,} bytes.")

    def _enters(self, scope: Scope) -> bool:
        """Whether this is a load of the page with the token in its address."""
        if scope["type"] != "http" or scope["path"] != "/" or scope["method"] != "GET":
            return False
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        return self._is_token(given)

    def _is_known(self, headers: MutableMapping[bytes, bytes]) -> bool:
        if TOKEN_HEADER in headers:
            return self._is_token(headers[TOKEN_HEADER].decode("latin-1"))
        cookies = cookie_parser(headers.get(b"cookie", b"").decode("latin-1"))
        return self._is_token(cookies.get(self.cookie, ""))

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.token.encode())

    @contextmanager
    def _counted(self, kind: str) -> Iterator[None]:
        limit = self.limits.requests if kind == "http" else self.limits.sockets
        if self._open[kind] >= limit:
            raise Refusal(503, f"Too many at a time: {limit} are served. Try again, or close a window.")
        self._open[kind] += 1
        try:
            yield
        finally:
            self._open[kind] -= 1

    def _limited(self, receive: Receive, most: int) -> Receive:
        """`receive`, which refuses a body as soon as more of it has come than is allowed."""
        received = 0

        async def counting() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > most:
                raise Refusal(413, f"Expected a body of at most {most:,} bytes.")
            return message

        return counting

    def _with_headers(self, scope: Scope, send: Send) -> Send:
        """`send`, which adds the protecting headers, and the cookie where the page is loaded with the token."""
        cookie = (b"set-cookie", f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict".encode())

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                entered = [cookie] if message["status"] == 200 and self._enters(scope) else []
                message["headers"] = [*message.get("headers", ()), *HEADERS, *entered]
            await send(message)

        return sending


def _single_headers(scope: Scope) -> MutableMapping[bytes, bytes]:
    """Headers by name. Raises: Refusal where one that decides is given twice."""
    found: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in found and name in (b"host", b"origin", b"content-length", TOKEN_HEADER):
            raise Refusal(400, f"Expected one header {name.decode('latin-1')}, got several.")
        found[name] = found[name] + b"; " + value if name == b"cookie" and name in found else value
    return found


async def _refuse(scope: Scope, receive: Receive, send: Send, refusal: Refusal) -> None:
    """Answer a refused request: with JSON, and on the page's own address with plain text, for people."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": refusal.detail[:120]})
    elif scope["path"] == "/":
        await PlainTextResponse(refusal.detail, refusal.status_code, refusal.headers)(scope, receive, send)
    else:
        await JSONResponse({"detail": refusal.detail}, refusal.status_code, refusal.headers)(scope, receive, send)
