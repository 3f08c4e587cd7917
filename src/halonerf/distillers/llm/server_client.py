"""One request to a server that may be slow, busy, broken or away: retries, pauses, and a limit on the rate."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from halonerf.errors import BadInput, require

log = logging.getLogger(__name__)

LARGEST = 4_000_000  # bytes of an answer that are read
PROBE_S = 10.0  # how long a server may take to say that it is there
LONGEST_PAUSE_S = 60.0  # between two tries
OUTAGES = 3  # of the server that one request lives through: it may be what brings it down


class Refused(Exception):
    """The server is well and will not answer this request; `kind` counts it, `detail` is what it said."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind, self.detail = kind, detail


class ServerClient:
    """Posts JSON to one server, from within one event loop.

    Args:
        url: base of the endpoint, "http://host:port/v1".
        key_variable: the environment variable whose value is sent as a bearer token; nothing is sent where it is empty.
        workers: connections at most. timeout_s: for a whole request. retries: of one request, after the first try.
        backoff_s: before the first retry, doubled each time, with chance so that not all come back at once.
        patience_s: how long a server may be away, or busy, before the run is given up. per_minute: requests at most.
    """

    def __init__(
        self,
        url: str,
        key_variable: str,
        workers: int,
        timeout_s: float,
        retries: int,
        backoff_s: float,
        patience_s: float,
        per_minute: float | None,
    ) -> None:
        require("aiohttp", "llm")
        import aiohttp

        self.url, self.key_variable = url.rstrip("/"), key_variable
        self.retries, self.backoff_s, self.patience_s = retries, backoff_s, patience_s
        self.gap = 60.0 / per_minute if per_minute else 0.0
        self.tries = 0
        self._next = 0.0  # when the next request may start, by the loop's clock
        self._outage = asyncio.Lock()
        self._network = (aiohttp.ClientError, TimeoutError, OSError)
        key = os.environ.get(key_variable, "").strip()
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            connector=aiohttp.TCPConnector(limit=workers),
            proxy=_proxy(self.url),
        )

    async def close(self) -> None:
        await self._session.close()

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The server's answer as JSON.

        Raises:
            Refused: it will not answer this request, or failed at it each time while it answered others.
            BadInput: it knows neither key nor model, or was away for longer than `patience_s`.
        """
        failed, waited, throttled_s = 0, 0, 0.0
        while True:
            await self._turn()
            self.tries += 1
            kind, wait, detail = await self._once(path, body)
            if not kind:
                return detail
            if kind in ("http_429", "http_503") and wait is not None:  # busy, and says for how long
                self._next = max(self._next, asyncio.get_running_loop().time() + wait)
                throttled_s += max(wait, 0.05)
                if throttled_s > self.patience_s:
                    raise Refused(kind, str(detail))
                continue
            failed += 1
            if kind == "refused_connection" or failed > self.retries:
                if await self._back(kind) and waited < OUTAGES:  # the server's fault: this request has another try
                    failed, waited = min(failed, self.retries), waited + 1
                elif failed > self.retries:  # others are answered: this one is at fault
                    raise Refused(kind, str(detail))
            else:
                pause = min(self.backoff_s * 2 ** (failed - 1), LONGEST_PAUSE_S)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))

    async def _once(self, path: str, body: Mapping[str, Any]) -> tuple[str, float | None, Any]:
        """What went wrong ("": nothing), seconds that the server asks to wait, and the answer or the reason."""
        import aiohttp

        try:
            # not followed elsewhere: the key is for this server
            async with self._session.post(f"{self.url}/{path}", json=body, allow_redirects=False) as response:
                raw = await _read(response)
                status, pause = response.status, _pause(response.headers.get("Retry-After"))
                if status == 200:
                    data = _json(raw)
                    return ("", None, data) if isinstance(data, dict) else ("garbage", None, raw[:200])
        except aiohttp.ClientConnectorError as error:
            return "refused_connection", None, error
        except TimeoutError:
            return "timeout", None, "no answer in time"
        except (*self._network, ValueError) as error:
            return "broken_connection" if isinstance(error, aiohttp.ClientError) else "garbage", None, error
        detail = raw[:500].decode(errors="replace")
        self._give_up_on(status, detail, body)
        if status == 429:
            return "http_429", self.backoff_s if pause is None else pause, detail
        if 300 <= status < 500 and status not in (408, 409, 425):
            raise Refused(f"http_{status}", detail)
        return f"http_{status}", pause, detail

    def _give_up_on(self, status: int, detail: str, body: Mapping[str, Any]) -> None:
        """Raise where no request of this run can succeed."""
        if status in (401, 403):
            raise BadInput(
                f"expected {self.url} to accept the key in the environment variable {self.key_variable}, but it "
                f"answered {status}.\nSet it with: export {self.key_variable}=…   (it is read from nowhere else)"
            )
        if status == 404:
            raise BadInput(
                f"expected an OpenAI-compatible server at {self.url} that has the model '{body.get('model')}', but it "
                f"answered 404: {detail[:200]}\nSee what it has with: curl {self.url}/models   "
                "then say: distiller.url=URL distiller.model=NAME"
            )

    async def _turn(self) -> None:
        """Wait until the rate, and a server that asked for a pause, allow the next request."""
        loop = asyncio.get_running_loop()
        while (now := loop.time()) < self._next and not self.gap:
            await asyncio.sleep(self._next - now)
        if self.gap:
            mine = max(self._next, now)
            self._next = mine + self.gap
            await asyncio.sleep(max(mine - now, 0.0))

    async def _back(self, kind: str) -> bool:
        """Wait for a server that is away: whether it was. One waits for all; the others wait for that one."""
        async with self._outage:
            loop = asyncio.get_running_loop()
            started, told, pause = loop.time(), False, self.backoff_s
            while not await self._alive():
                if loop.time() - started > self.patience_s:
                    raise BadInput(
                        f"expected a server at {self.url}, but it was away for {self.patience_s:g} s ({kind}).\n"
                        "All answers so far are kept. Start it again, then go on with the same command."
                    )
                if not told:
                    log.warning(
                        "no answer from %s (%s): paused. Start it again within %g s and the run goes on by itself.",
                        self.url, kind, self.patience_s,
                    )  # fmt: skip
                    told = True
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S, max(self.patience_s / 4, 0.05))
            if told:
                log.warning("%s answers again: going on.", self.url)
            return told

    async def _alive(self) -> bool:
        import aiohttp

        try:
            timeout = aiohttp.ClientTimeout(total=PROBE_S)
            async with self._session.get(f"{self.url}/models", timeout=timeout, allow_redirects=False) as response:
                return response.status < 500
        except self._network:
            return False


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for `url`. aiohttp could look itself, but does so at every request."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)


async def _read(response: Any) -> bytes:
    """The body; ValueError where it is too large to be an answer."""
    parts, size = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > LARGEST:
            raise ValueError(f"an answer of more than {LARGEST} bytes")
    return b"".join(parts)


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"no JSON: {raw[:80]!r}") from error


def _pause(header: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, given as seconds or as a date; None for none, or nonsense."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            when = parsedate_to_datetime(header)
        except ValueError:
            return None
        seconds = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - datetime.now(UTC).timestamp()
    return min(max(seconds, 0.0), 3600.0) if seconds == seconds else None
