"""The action API of MediaWiki: questions, answers in pieces, and the errors that it documents.

Source: https://www.mediawiki.org/wiki/API:Query, API:Continue, API:Errors_and_warnings, Manual:Maxlag_parameter.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Mapping
from http.client import HTTPResponse
from typing import Any, NamedTuple
from urllib.parse import urlencode

from halonerf.data.commons.http_client import Again, Gone, PoliteHttp, retry_after
from halonerf.errors import BadInput

log = logging.getLogger(__name__)

WAIT = frozenset({"maxlag", "ratelimited", "readonly"})  # the wiki is busy, we were too fast, it is being repaired
LARGEST = 64 * 2**20  # bytes of one answer; fifty files with long descriptions take less than one MB


class Batch(NamedTuple):
    """Pages with all their properties, and what to ask with for those after them; None at the end."""

    pages: list[dict[str, Any]]
    more: dict[str, str] | None


class Api:
    """Asks one wiki.

    Args:
        http: makes the requests.
        url: of `api.php`.
        maxlag: s by which the wiki's copies of its database may lag before it sends us away; 5 is its own advice.
    """

    def __init__(self, http: PoliteHttp, url: str, maxlag: int) -> None:
        self.http, self.url, self.maxlag = http, url, maxlag
        self._warned: set[str] = set()

    def ask(self, **params: str | int) -> dict[str, Any]:
        """The answer to one request.

        Raises: ApiError for an error that waiting does not mend.
        """
        fixed = {"format": "json", "formatversion": 2, "maxlag": self.maxlag}
        try:
            answer = self.http.ask(f"{self.url}?{urlencode({**params, **fixed})}", _parsed, packed=True)
        except Gone as error:
            raise BadInput(
                f"expected the API of a wiki at {self.url}, got {error}.\nGive its address with: corpus.api=URL"
            ) from error
        for module, warning in answer.get("warnings", {}).items():
            if module not in self._warned:
                self._warned.add(module)
                log.warning("%s warns about '%s': %s", self.url, module, json.dumps(warning, ensure_ascii=False)[:300])
        return answer

    def query(self, more: Mapping[str, str] | None = None, **params: str | int) -> Batch:
        """The next batch of a query, as many requests as it takes until its pages are whole."""
        pages: dict[str, dict[str, Any]] = {}
        going_on = dict(more or {})
        while True:
            answer = self.ask(action="query", **{**params, **going_on})
            for page in answer.get("query", {}).get("pages", ()):
                _merge(pages.setdefault(str(page.get("title", page.get("pageid"))), {}), page)
            following = answer.get("continue")
            if following is None:
                return Batch(list(pages.values()), None)
            following = {str(key): str(value) for key, value in following.items()}
            if following == going_on:
                raise BadInput(f"{self.url} goes round in circles: it gave the continuation {following} twice.")
            going_on = following
            if answer.get("batchcomplete"):
                return Batch(list(pages.values()), going_on)


class ApiError(BadInput):
    """An error in the API's own words, with its documented `code`."""

    def __init__(self, code: str, info: str) -> None:
        super().__init__(f"the API answered with the error '{code}': {info}\nCheck corpus.category and corpus.api.")
        self.code = code


def _merge(page: dict[str, Any], piece: Mapping[str, Any]) -> None:
    """Properties come in several answers: lists in pieces, the rest again and again."""
    for key, value in piece.items():
        if isinstance(value, list) and isinstance(page.get(key), list):
            page[key] += [entry for entry in value if entry not in page[key]]
        else:
            page[key] = value


def _parsed(answer: HTTPResponse) -> dict[str, Any]:
    raw = answer.read(LARGEST)
    if answer.headers.get("Content-Encoding", "").lower() == "gzip":
        try:
            inflater = zlib.decompressobj(wbits=31)
            raw = inflater.decompress(raw, LARGEST)
        except zlib.error as error:
            raise Again(f"a damaged answer: {error}") from error
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise Again(f"an answer that is not JSON: {raw[:80]!r}") from error
    if not isinstance(body, dict):
        raise Again(f"an answer that is not a JSON object: {raw[:80]!r}")
    problem = body.get("error")
    if problem is None:
        return body
    code, info = str(problem.get("code", "")), str(problem.get("info", ""))[:500]
    if code in WAIT or code.startswith("internal_api_error"):
        raise Again(f"{code}: {info}", retry_after(answer.headers.get("Retry-After")))
    raise ApiError(code, info)
