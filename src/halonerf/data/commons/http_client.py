"""HTTP client with a rate limit, retries with exponential backoff, and Retry-After.

Source: https://www.mediawiki.org/wiki/API:Etiquette, https://foundation.wikimedia.org/wiki/Policy:User-Agent_policy.
"""

from __future__ import annotations

import email.utils
import errno
import http.client
import logging
import ssl
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


class PoliteHttp:
    """GET requests, one at a time.

    Args:
        agent: User-Agent header; Wikimedia refuses requests whose header names no contact.
        rate: requests per second at most.
        timeout: s without a response after which an attempt has failed.
        retries: further attempts after a failed one.
        pause: s before the first retry; it doubles with each, up to `MAX_PAUSE_S`.
        patience: s, the longest Retry-After that is waited for.
    """

    def __init__(self, agent: str, rate: float, timeout: float, retries: int, pause: float, patience: float) -> None:
        self.agent, self.rate, self.timeout = agent, rate, timeout
        self.retries, self.pause, self.patience = retries, pause, patience
        self._opener, self._earliest = _opener(), 0.0

    def get(self, url: str, read: Callable[[http.client.HTTPResponse], T], compressed: bool = False) -> T:
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
                with self._opener.open(request, timeout=self.timeout) as response:
                    return read(response)
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
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise Gone(f"not a web address: '{url[:200]}'")
    return quote(url, safe="%/:=&?~#+!$,;'@()*[]|.-_")


def retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header, a number or a date (RFC 9110, 10.2.3); None where it is neither."""
    if value is None:
        return None
    try:
        return max(0.0, float(int(value.strip())))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if new.scheme not in ("http", "https") or (old.scheme == "https" and new.scheme != "https"):
            raise urllib.error.HTTPError(req.full_url, code, f"redirect to {newurl[:200]}", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """An opener for http and https only: the default one also reads file:// and ftp:// addresses."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _SafeRedirects(),
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
