"""Politeness on the web: one request at a time, few a second, and as long a wait as the server asks for.

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

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})  # HTTP states that a later try may mend
GONE = frozenset({404, 410, 451})
REDIRECTS = frozenset({301, 302, 303, 307, 308})  # here: those that could not be followed
LONGEST_PAUSE = 120.0  # s, where the server does not say how long to wait


class Again(Exception):
    """A try that failed in a way that may pass. after: seconds that the server asks for, if it does."""

    def __init__(self, why: str, after: float | None = None) -> None:
        super().__init__(why)
        self.after = after


class Gone(Exception):
    """There is nothing at the address, or nothing that can be had."""


class Unanswered(BadInput):
    """A server that could not be had for as long as one is waited for."""


class PoliteHttp:
    """GET requests, one after another.

    Args:
        agent: User-Agent header; Wikimedia refuses requests that do not say whom to ask about them.
        rate: requests a second at most.
        timeout: s without an answer, after which a request counts as failed.
        retries: times that a failed request is made again.
        pause: s before the first of these; it doubles with each, up to two minutes.
        patience: s, the longest wait asked for by a server that is waited for.
    """

    def __init__(self, agent: str, rate: float, timeout: float, retries: int, pause: float, patience: float) -> None:
        self.agent, self.rate, self.timeout = agent, rate, timeout
        self.retries, self.pause, self.patience = retries, pause, patience
        self._opener, self._earliest = _opener(), 0.0

    def ask(self, url: str, use: Callable[[http.client.HTTPResponse], T], packed: bool = False) -> T:
        """What `use` makes of the answer of `url`; `use` may raise `Again`. packed: the answer may come as gzip.

        Raises: Gone where the address has nothing; Unanswered where all tries failed; BadInput where the server
            refuses, or asks for a longer wait than it gets.
        """
        encoding = "gzip" if packed else "identity"
        headers = {"User-Agent": self.agent, "Accept-Encoding": encoding}
        request = urllib.request.Request(checked_address(url), headers=headers)
        failure = Again("no try was made")
        for attempt in range(self.retries + 1):
            if attempt:
                self._rest(url, failure, attempt)
            self._take_turn()
            try:
                with self._opener.open(request, timeout=self.timeout) as answer:
                    return use(answer)
            except urllib.error.HTTPError as error:
                failure = _judged(error, url)
            except Again as again:
                failure = again
            except (OSError, http.client.HTTPException) as error:
                if not _of_the_network(error):
                    raise  # the disk is full, say
                failure = Again(f"{type(error).__name__}: {getattr(error, 'reason', None) or error}")
        raise Unanswered(
            f"expected an answer from {url}, but {self.retries + 1} tries failed; the last: {failure}.\n"
            "What was fetched is kept: go on later with the same command. Longer waits: corpus.retries, corpus.pause."
        )

    def _take_turn(self) -> None:
        now = time.monotonic()
        if now < self._earliest:
            time.sleep(self._earliest - now)
        self._earliest = time.monotonic() + 1.0 / self.rate

    def _rest(self, url: str, failure: Again, attempt: int) -> None:
        wait = min(self.pause * 2.0 ** (attempt - 1), LONGEST_PAUSE) if failure.after is None else failure.after
        if wait > self.patience:
            raise BadInput(
                f"expected to go on soon, but {urlsplit(url).netloc} asks to wait {wait:.0f} s ({failure}), which is "
                f"more than corpus.patience={self.patience:g}.\n"
                "What was fetched is kept: go on later with the same command, or wait longer: corpus.patience=SECONDS"
            )
        log.warning("%s: %s; waiting %.1f s", urlsplit(url).netloc, failure, wait)
        time.sleep(wait)


def checked_address(url: str) -> str:
    """`url` with all but ASCII escaped.

    Raises: Gone where it is not an address on the web; files of this machine have none.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise Gone(f"no address on the web: '{url[:200]}'")
    return quote(url, safe="%/:=&?~#+!$,;'@()*[]|.-_")


def retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or a date (RFC 9110, 10.2.3); None where it does not."""
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
            raise urllib.error.HTTPError(req.full_url, code, f"sent on to {newurl[:200]}", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """Of the web alone: the usual opener would read file:// and ftp:// addresses, too."""
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


def _of_the_network(error: Exception) -> bool:
    kinds = (urllib.error.URLError, TimeoutError, ConnectionError, ssl.SSLError, http.client.HTTPException)
    unreachable = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN)
    return isinstance(error, kinds) or getattr(error, "errno", None) in unreachable


def _judged(error: urllib.error.HTTPError, url: str) -> Again:
    """An HTTP error that may pass; raises for the others."""
    with error:
        said = "" if error.fp is None else error.fp.read(300).decode("utf-8", errors="replace")
    said = " ".join(said.split())
    if error.code in GONE:
        raise Gone(f"HTTP {error.code}")
    if error.code in REDIRECTS:
        raise Gone(f"HTTP {error.code}, {error.msg}")
    if error.code in PASSING:
        why = f"HTTP {error.code} {error.msg}: {said}".rstrip(": ")
        return Again(why, retry_after(error.headers.get("Retry-After")))
    raise BadInput(
        f"expected {url} to be given out, got HTTP {error.code} {error.msg}: {said}\n"
        "Servers of Wikimedia refuse clients that do not say who they are: check corpus.contact, and corpus.api."
    ) from error
