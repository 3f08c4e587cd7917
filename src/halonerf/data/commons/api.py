"""Client of MediaWiki's action API: requests, continuation of queries, documented errors.

Source: https://www.mediawiki.org/wiki/API:Query, API:Continue, API:Errors_and_warnings, Manual:Maxlag_parameter.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

from halonerf.data.commons.http_client import Gone, PoliteHttp, Response, Transient, retry_after
from halonerf.errors import BadInput

log = logging.getLogger(__name__)

TRANSIENT_CODES = frozenset({"maxlag", "ratelimited", "readonly"})  # wiki busy, requests too fast, maintenance
MAX_REQUESTS = 500  # for one batch of pages; fifty files with all their properties take a few
MAX_RESPONSE_BYTES = 64 * 2**20  # fifty files with long descriptions take less than one MB


class Batch(NamedTuple):
    """Pages with all their properties, and the parameters that continue the query; None at its end."""

    pages: list[dict[str, Any]]
    continuation: dict[str, str] | None


class Api:
    """Requests to the API of one wiki.

    Args:
        http: the HTTP client.
        url: of `api.php`.
        maxlag: s of replication lag of the wiki's databases above which it refuses requests; 5 is its own advice.
    """

    def __init__(self, http: PoliteHttp, url: str, maxlag: int) -> None:
        self.http, self.url, self.maxlag = http, url, maxlag
        self._warned: set[str] = set()

    def request(self, **params: str | int) -> dict[str, Any]:
        """Response to one request, JSON.

        Raises: ApiError for errors that are not transient; BadInput where there is no API at the address.
        """
        fixed = {"format": "json", "formatversion": 2, "maxlag": self.maxlag}
        try:
            response = self.http.get(f"{self.url}?{urlencode({**params, **fixed})}", _parsed, compressed=True)
        except Gone as error:
            raise BadInput(
                f"expected the API of a wiki at {self.url}, got {error}.\nGive its address with: corpus.api=URL"
            ) from error
        for module, warning in (response.get("warnings") or {}).items():
            if module not in self._warned:
                self._warned.add(module)
                log.warning("%s warns about '%s': %s", self.url, module, json.dumps(warning, ensure_ascii=False)[:300])
        return response

    def query(self, continuation: Mapping[str, str] | None = None, **params: str | int) -> Batch:
        """Next batch of a query, by as many requests as its pages need to be complete."""
        pages: dict[str, dict[str, Any]] = {}
        position = dict(continuation or {})
        seen = [position]
        for _ in range(MAX_REQUESTS):
            response = self.request(action="query", **{**params, **position})
            for page in (response.get("query") or {}).get("pages", ()):
                _merge(pages.setdefault(str(page.get("title", page.get("pageid"))), {}), page)
            following = response.get("continue")
            if not following:
                return Batch(list(pages.values()), None)
            following = {str(key): str(value) for key, value in following.items()}
            if following in seen:
                raise BadInput(
                    f"expected {self.url} to continue the query, but it gave the continuation {following} twice."
                )
            position = following
            seen.append(position)
            if response.get("batchcomplete"):
                return Batch(list(pages.values()), position)
        raise BadInput(f"expected {self.url} to complete a batch of pages, but it did not in {MAX_REQUESTS} requests.")


class ApiError(BadInput):
    """An error that the API reports, with its documented `code`."""

    def __init__(self, code: str, info: str) -> None:
        super().__init__(f"the API answered with the error '{code}': {info}\nCheck corpus.category and corpus.api.")
        self.code = code


def _merge(page: dict[str, Any], addition: Mapping[str, Any]) -> None:
    """Add a response's properties to a page: lists are continued, the rest is repeated."""
    for key, value in addition.items():
        if isinstance(value, list) and isinstance(page.get(key), list):
            page[key] += [entry for entry in value if entry not in page[key]]
        else:
            page[key] = value


def _parsed(response: Response) -> dict[str, Any]:
    raw = response.read(MAX_RESPONSE_BYTES)
    if response.headers.get("Content-Encoding", "").lower() == "gzip":
        try:
            inflater = zlib.decompressobj(wbits=31)
            raw = inflater.decompress(raw, MAX_RESPONSE_BYTES)
        except zlib.error as error:
            raise Transient(f"a damaged response: {error}") from error
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Transient(f"a response that is not JSON: {raw[:80]!r}") from error
    if not isinstance(body, dict):
        raise Transient(f"a response that is not a JSON object: {raw[:80]!r}")
    problem = body.get("error")
    if problem is None:
        _check_shape(body)
        return body
    if not isinstance(problem, dict):
        raise Transient(f"an error without a code: {str(problem)[:200]}")
    code, info = str(problem.get("code", "")), str(problem.get("info", ""))[:500]
    if code in TRANSIENT_CODES or code.startswith("internal_api_error"):
        raise Transient(f"{code}: {info}", retry_after(response.headers.get("Retry-After")))
    raise ApiError(code, info)


def _check_shape(body: Mapping[str, Any]) -> None:
    """Check that what a response holds has the types that the API documents.

    Raises: Transient.
    """
    for key in ("warnings", "query", "continue", "entities"):
        value = body.get(key)
        if key in body and not isinstance(value, dict) and value != []:
            raise Transient(f"a response with a '{key}' that is no object: {str(value)[:80]}")
    query = body.get("query") or {}
    pages = query.get("pages", [])
    if not isinstance(pages, list) or not all(isinstance(page, dict) for page in pages):
        raise Transient(f"a response whose pages are no list of objects: {str(pages)[:80]}")
