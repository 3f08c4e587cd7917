"""A client for a server that may be slow, busy, failing or down: retries, back-off and a rate limit."""

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

MAX_ANSWER_BYTES = 4_000_000
PROBE_TIMEOUT_S = 10.0  # of the request that tests whether the server is up
MAX_PAUSE_S = 60.0  # between two tries
MAX_OUTAGES = 3  # of the server per request: the request may be what brings it down


class Refused(Exception):
    """The server is up but rejects this request; `kind`: name of its count, `detail`: the server's message."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind, self.detail = kind, detail


class ServerClient:
    """Posts JSON to one server, from within one event loop.

    Args:
        url: base of the endpoint, "http://host:port/v1".
        key_variable: the environment variable whose value is sent as a bearer token; nothing is sent where it is empty.
        workers: maximum number of connections. timeout_s: of a request. retries: of a request, after the first try.
        backoff_s: before the first retry, doubled each time, with jitter.
        patience_s: how long a server may be down, or busy, before the run is given up.
        per_minute: maximum number of requests; None: no limit.
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
            Refused: it rejects this request, or failed at every try while it answered others.
            BadInput: it rejects the key or the model, or was down for longer than `patience_s`.
        """
        failed, waited, throttled_s = 0, 0, 0.0
        while True:
            await self._wait_for_turn()
            self.tries += 1
            kind, wait, detail = await self._try(path, body)
            if not kind:
                return detail
            if kind in ("http_429", "http_503") and wait is not None:  # busy, with a time to wait
                self._next = max(self._next, asyncio.get_running_loop().time() + wait)
                throttled_s += max(wait, 0.05)
                if throttled_s > self.patience_s:
                    raise Refused(kind, str(detail))
                continue
            failed += 1
            if kind == "refused_connection" or failed > self.retries:
                if await self._wait_for_server(kind) and waited < MAX_OUTAGES:  # the server's fault: retry this request
                    failed, waited = min(failed, self.retries), waited + 1
                elif failed > self.retries:  # other requests are answered: this one is at fault
                    raise Refused(kind, str(detail))
            else:
                pause = min(self.backoff_s * 2 ** (failed - 1), MAX_PAUSE_S)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))

    async def _try(self, path: str, body: Mapping[str, Any]) -> tuple[str, float | None, Any]:
        """Kind of failure ("": none), seconds to wait by Retry-After, and the answer or the reason."""
        import aiohttp

        try:
            # redirects are not followed: the key is for this server only
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
        self._raise_if_hopeless(status, detail, body)
        if status == 429:
            return "http_429", self.backoff_s if pause is None else pause, detail
        if 300 <= status < 500 and status not in (408, 409, 425):
            raise Refused(f"http_{status}", detail)
        return f"http_{status}", pause, detail

    def _raise_if_hopeless(self, status: int, detail: str, body: Mapping[str, Any]) -> None:
        """Raise where no request of this run can succeed."""
        if status in (401, 403):
            raise BadInput(
                f"expected {self.url} to accept the key in the environment variable {self.key_variable}, but it "
                f"answered {status}.\nSet it with: export {self.key_variable}=…   (it is read from nowhere else)"
            )
        if status == 404:
            raise BadInput(
                f"expected an OpenAI-compatible server at {self.url} that has the model '{body.get('model')}', but it "
                f"answered 404: {detail[:200]}\nList its models with: curl {self.url}/models   "
                "then set: distiller.url=URL distiller.model=NAME"
            )

    async def _wait_for_turn(self) -> None:
        """Wait until the rate limit and the server's Retry-After allow the next request."""
        loop = asyncio.get_running_loop()
        while (now := loop.time()) < self._next and not self.gap:
            await asyncio.sleep(self._next - now)
        if self.gap:
            mine = max(self._next, now)
            self._next = mine + self.gap
            await asyncio.sleep(max(mine - now, 0.0))

    async def _wait_for_server(self, kind: str) -> bool:
        """Wait for a server that is down; whether it was. One request probes, the others wait for it."""
        async with self._outage:
            loop = asyncio.get_running_loop()
            started, was_down, pause = loop.time(), False, self.backoff_s
            while not await self._is_up():
                if loop.time() - started > self.patience_s:
                    raise BadInput(
                        f"expected a server at {self.url}, but it was down for {self.patience_s:g} s ({kind}).\n"
                        "All answers so far are kept. Start the server, then resume with the same command."
                    )
                if not was_down:
                    log.warning(
                        "no answer from %s (%s): paused. Restart the server within %g s and the run resumes by itself.",
                        self.url, kind, self.patience_s,
                    )  # fmt: skip
                    was_down = True
                await asyncio.sleep(pause)
                pause = min(2 * pause, MAX_PAUSE_S, max(self.patience_s / 4, 0.05))
            if was_down:
                log.warning("%s answers again: resuming.", self.url)
            return was_down

    async def _is_up(self) -> bool:
        import aiohttp

        try:
            timeout = aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S)
            async with self._session.get(f"{self.url}/models", timeout=timeout, allow_redirects=False) as response:
                return response.status < 500
        except self._network:
            return False


def _proxy(url: str) -> str | None:
    """The proxy that the environment sets for `url`, read once; aiohttp would read it at every request."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)


async def _read(response: Any) -> bytes:
    """The body of a response. Raises: ValueError where it is larger than `MAX_ANSWER_BYTES`."""
    parts, size = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise ValueError(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
    return b"".join(parts)


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {raw[:80]!r}") from error


def _pause(header: str | None) -> float | None:
    """Seconds to wait by a Retry-After header, which gives seconds or a date; None where missing or invalid."""
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
