"""HTTP client with a rate limit, retries with exponential backoff, and Retry-After.

Source: https://www.mediawiki.org/wiki/API:Etiquette, https://foundation.wikimedia.org/wiki/Policy:User-Agent_policy.
"""

from __future__ import annotations

import contextlib
import email.utils
import errno
import http.client
import ipaddress
import logging
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import quote, urlsplit

from halonerf.errors import BadInput

log = logging.getLogger(__name__)
T = TypeVar("T")

TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
GONE_STATUS = frozenset({404, 410, 451})
REDIRECT_STATUS = frozenset({301, 302, 303, 307, 308})  # here: redirects that could not be followed
MIN_BYTES_PER_S = 1000  # on the average, after the timeout
MAX_PAUSE_S = 120.0  # where the server does not state Retry-After


class Transient(Exception):
    """A failed attempt that may succeed later. after: seconds to wait, where the server states them."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class Gone(Exception):
    """The address has no content, or none that can be fetched."""


class Unanswered(BadInput):
    """A server did not respond in any attempt."""


class Response:
    """Headers and body of an answer, read with a deadline: a server that sends a byte now and then is not waited for.

    Args:
        response: as `urllib` gives it.
        timeout: s from which on the average speed counts.
    """

    def __init__(self, response: http.client.HTTPResponse, timeout: float) -> None:
        self.headers, self._response, self._timeout = response.headers, response, timeout
        self._started, self._received = time.monotonic(), 0

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, fewer at the end only.

        Raises: Transient where they come more slowly than `MIN_BYTES_PER_S`.
        """
        parts: list[bytes] = []
        missing = size
        while missing and (part := self._response.read1(missing)):
            parts.append(part)
            missing -= len(part)
            self._received += len(part)
            spent = time.monotonic() - self._started - self._timeout
            if spent > 0 and self._received < MIN_BYTES_PER_S * spent:
                raise Transient(f"a response of {self._received} bytes in {spent + self._timeout:.0f} s")
        if missing and self._response.length:
            raise http.client.IncompleteRead(b"", self._response.length)
        return b"".join(parts)


class PoliteHttp:
    """GET requests, one at a time.

    Args:
        agent: User-Agent header; Wikimedia refuses requests whose header names no contact.
        rate: requests per second at most.
        timeout: s without a response after which an attempt has failed; after as many, less than `MIN_BYTES_PER_S`
            on the average end it, too.
        retries: further attempts after a failed one.
        pause: s before the first retry; it doubles with each, up to `MAX_PAUSE_S`.
        patience: s, the longest Retry-After that is waited for.
        home: an address on the server that was configured: redirects may lead to it wherever it is, and elsewhere only
            to public addresses.
    """

    def __init__(
        self, agent: str, rate: float, timeout: float, retries: int, pause: float, patience: float, home: str = ""
    ) -> None:
        self.agent, self.rate, self.timeout = agent, rate, timeout
        self.retries, self.pause, self.patience = retries, pause, patience
        self._redirects = _SafeRedirects(home)
        self._opener, self._earliest = _opener(self._redirects), 0.0

    def get(self, url: str, read: Callable[[Response], T], compressed: bool = False) -> T:
        """Result of `read` for the response of `url`.

        Args:
            read: may raise `Transient`, which leads to a retry.
            compressed: whether the response may be compressed by gzip.

        Raises: Gone where the address has no content; Unanswered where all attempts failed; BadInput where the server
            refuses, or states a longer Retry-After than `patience`.
        """
        encoding = "gzip" if compressed else "identity"
        headers = {"User-Agent": self.agent, "Accept-Encoding": encoding}
        request = urllib.request.Request(checked_address(url), headers=headers)
        failure = Transient("no attempt was made")
        for attempt in range(self.retries + 1):
            if attempt:
                self._wait(url, failure, attempt)
            self._limit_rate()
            try:
                with self._open(request) as response:
                    return read(Response(response, self.timeout))
            except urllib.error.HTTPError as error:
                failure = _transient(error, url)
            except Transient as transient:
                failure = transient
            except (OSError, http.client.HTTPException) as error:
                if not _is_network_error(error):
                    raise  # such as a full disk
                failure = Transient(f"{type(error).__name__}: {getattr(error, 'reason', None) or error}")
        raise Unanswered(
            f"expected a response from {url}, but {self.retries + 1} attempts failed; the last: {failure}.\n"
            "Fetched files are kept: resume later with the same command. Longer waits: corpus.retries, corpus.pause"
        )

    def _open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        """Raises: Gone where the address, or one that it redirects to, is malformed; as `urllib` otherwise."""
        try:
            return self._opener.open(request, timeout=self.timeout)
        except ValueError as error:  # also UnicodeError: a host's name that cannot be encoded
            raise Gone(f"not a web address, or a redirect to none: '{request.full_url[:200]}'") from error

    def _limit_rate(self) -> None:
        now = time.monotonic()
        if now < self._earliest:
            time.sleep(self._earliest - now)
        self._earliest = time.monotonic() + 1.0 / self.rate

    def _wait(self, url: str, failure: Transient, attempt: int) -> None:
        wait = min(self.pause * 2.0 ** (attempt - 1), MAX_PAUSE_S) if failure.after is None else failure.after
        if wait > self.patience:
            raise BadInput(
                f"expected a wait of at most corpus.patience={self.patience:g} s, but {urlsplit(url).netloc} demands "
                f"{wait:.0f} s ({failure}).\n"
                "Fetched files are kept: resume later with the same command, or wait longer: corpus.patience=SECONDS"
            )
        log.warning("%s: %s; waiting %.1f s", urlsplit(url).netloc, failure, wait)
        time.sleep(wait)


def checked_address(url: str) -> str:
    """`url` with all but ASCII characters escaped.

    Raises: Gone where it is not an http or https address.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise Gone(f"not a web address: '{url[:200]}'") from error
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise Gone(f"not a web address: '{url[:200]}'")
    return quote(url, safe="%/:=&?~#+!$,;'@()*[]|.-_")


def retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header, a number or a date (RFC 9110, 10.2.3); None where it is neither."""
    if value is None:
        return None
    try:
        return max(0.0, float(int(value.strip())))
    except OverflowError:
        return None
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to web addresses that are public, or on the server of the address `home`."""

    def __init__(self, home: str) -> None:
        self.home = home

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        try:
            old, new = urlsplit(req.full_url), urlsplit(newurl)
            private = private_addresses(new.hostname or "")
        except ValueError:
            raise urllib.error.HTTPError(req.full_url, code, f"redirect to {newurl[:200]}", headers, fp) from None
        if private and not private & _addresses(urlsplit(self.home).hostname or ""):
            reason = f"redirect to the private address {min(private)} ({newurl[:200]})"
            raise urllib.error.HTTPError(req.full_url, code, reason, headers, fp)
        if new.scheme not in ("http", "https") or (old.scheme == "https" and new.scheme != "https"):
            raise urllib.error.HTTPError(req.full_url, code, f"redirect to {newurl[:200]}", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def private_addresses(host: str) -> set[str]:
    """IP addresses of a host that are not of the public internet: local, private, link-local, reserved."""
    return {address for address in _addresses(host) if not _is_public(address)}


def _addresses(host: str) -> set[str]:
    """IP addresses of a host; none where its name is unknown."""
    try:
        return {str(entry[4][0]).partition("%")[0] for entry in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return set()


def _is_public(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_global and not parsed.is_multicast


class _Connection(http.client.HTTPConnection):
    """A connection that is closed where status and headers are not there after its timeout, however they drip in."""

    def getresponse(self) -> http.client.HTTPResponse:
        timer = threading.Timer(self.timeout or 0.0, self._abort)
        timer.daemon = True
        timer.start()
        try:
            return super().getresponse()
        finally:
            timer.cancel()

    def _abort(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            self.sock.shutdown(socket.SHUT_RDWR)


class _SecureConnection(_Connection, http.client.HTTPSConnection):
    """The same, encrypted."""


class _HttpHandler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, req)


class _HttpsHandler(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SecureConnection, req, context=ssl.create_default_context())


def _opener(redirects: _SafeRedirects) -> urllib.request.OpenerDirector:
    """An opener for http and https only: the default one also reads file:// and ftp:// addresses."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _HttpHandler(),
        _HttpsHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        redirects,
    ):
        opener.add_handler(handler)
    return opener


def _is_network_error(error: Exception) -> bool:
    kinds = (urllib.error.URLError, TimeoutError, ConnectionError, ssl.SSLError, http.client.HTTPException)
    unreachable = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN)
    return isinstance(error, kinds) or getattr(error, "errno", None) in unreachable


def _transient(error: urllib.error.HTTPError, url: str) -> Transient:
    """The HTTP error as a transient one.

    Raises: Gone, BadInput for errors that are not transient.
    """
    with error:
        body = "" if error.fp is None else error.fp.read(300).decode("utf-8", errors="replace")
    body = " ".join(body.split())
    if error.code in GONE_STATUS:
        raise Gone(f"HTTP {error.code}")
    if error.code in REDIRECT_STATUS:
        raise Gone(f"HTTP {error.code}, {error.msg}")
    if error.code in TRANSIENT_STATUS:
        reason = f"HTTP {error.code} {error.msg}: {body}".rstrip(": ")
        return Transient(reason, retry_after(error.headers.get("Retry-After")))
    raise BadInput(
        f"expected to fetch {url}, got HTTP {error.code} {error.msg}: {body}\n"
        "Wikimedia's servers refuse clients without a contact: check corpus.contact and corpus.api."
    ) from error
