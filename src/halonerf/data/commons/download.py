"""Downloads of photos, verified, with a journal of outcomes, so that a killed run resumes."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from halonerf.data.commons.filter import within
from halonerf.data.commons.http_client import Gone, PoliteHttp, Response, Unanswered
from halonerf.data.commons.media_file import CommonsFile

log = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 16
FORMATS = frozenset(("JPEG", "MPO", "PNG", "WEBP"))  # MPO: a JPEG followed by a second image, as some phones write
MAX_BYTES = 4 << 30  # where there is no limit: the wiki's own for a file
MAX_ATTEMPTS = 3  # for a photo that arrives damaged
MAX_UNANSWERED = 3  # consecutive files without a response that end the run
LOG_INTERVAL_S = 10.0


class Outcome(NamedTuple):
    """Result of a download; `problem` is empty where the photo was stored."""

    pageid: int
    problem: str = ""
    url: str = ""
    sha256: str = ""
    bytes: int = 0
    width: int = 0
    height: int = 0
    changes: str = ""  # against the original


class Downloads:
    """Downloads of a collection's photos.

    Args:
        http: the HTTP client.
        folder: of the photos.
        journal: file of outcomes, one JSON object per line.
        limits: bytes of a photo, (lower, upper); an upper limit of 0 is none.
    """

    def __init__(self, http: PoliteHttp, folder: Path, journal: Path, limits: tuple[int, int]) -> None:
        self.http, self.folder, self.journal, self.limits = http, folder, journal, limits
        folder.mkdir(parents=True, exist_ok=True)
        self.outcomes = {outcome.pageid: outcome for outcome in _read(journal)}
        self._progress = _ProgressLog()
        self._stored = sum(not outcome.problem for outcome in self.outcomes.values())
        self._unanswered: list[tuple[Outcome, Unanswered]] = []  # not known yet whether file or server fails
        self._responded = False

    def fetch(self, file: CommonsFile, scaled: bool, expected: int) -> Outcome:
        """Outcome of a file, from the journal or by downloading it now.

        A wiki may permanently fail to scale one photo. A file without a response is therefore skipped, and recorded as
        left out once the server has responded for a later one.

        Args:
            scaled: download the smaller copy where there is one.
            expected: estimated number of photos, for the log.

        Raises: Unanswered for the third consecutive file without a response.
        """
        known = self.outcomes.get(file.pageid)
        if known and (known.problem or (self.folder / file.name).is_file()):
            return known
        smaller = scaled and bool(file.scaled_url)
        url = file.scaled_url if smaller else file.url
        try:
            outcome = self._download(file, url, smaller)
        except Unanswered as error:
            if len(self._unanswered) + 1 == MAX_UNANSWERED:
                raise
            outcome = Outcome(file.pageid, f"no response: {error}".partition("\n")[0], url)
            self._unanswered.append((outcome, error))
            return outcome
        for earlier, _ in self._unanswered:
            self._record(earlier)
        self._unanswered, self._responded = [], True
        self._record(outcome)
        self._stored += not outcome.problem
        self._progress.step(outcome.bytes, self._stored, expected)
        return outcome

    def finalise(self) -> None:
        """Check after the last file that the server has responded at all.

        Raises: Unanswered where files had no response and no other file had one.
        """
        if self._unanswered and not self._responded:
            raise self._unanswered[-1][1]

    def _download(self, file: CommonsFile, url: str, smaller: bool) -> Outcome:
        partial, problem = self.journal.with_name("photo.partial"), ""
        for _ in range(MAX_ATTEMPTS):
            try:
                sha256, size = self.http.get(
                    url, lambda response: _save(response, partial, file, smaller, self.limits[1])
                )
            except (Gone, TooLarge) as error:
                return Outcome(file.pageid, str(error), url)
            except Damaged as error:
                problem = f"damaged in {MAX_ATTEMPTS} attempts: {error}"
                continue
            try:
                outcome = self._check(file, partial, Outcome(file.pageid, "", url, sha256, size))
            except Damaged as error:
                problem = f"damaged in {MAX_ATTEMPTS} attempts: {error}"
                continue
            if not outcome.problem:
                partial.replace(self.folder / file.name)
            return outcome
        return Outcome(file.pageid, problem, url)

    def _check(self, file: CommonsFile, path: Path, outcome: Outcome) -> Outcome:
        if not within(outcome.bytes, self.limits):
            return outcome._replace(problem=f"size: {outcome.bytes} bytes")
        try:
            with Image.open(path) as image:
                kind, (width, height) = image.format, image.size
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            return outcome._replace(problem=f"cannot be read as a photo: {error}".replace(str(path), file.name))
        if kind not in FORMATS:
            return outcome._replace(problem=f"not a photo: {kind}")
        try:
            with Image.open(path) as image:
                image.load()  # half a file has the header of a whole one
        except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
            raise Damaged(f"its pixels cannot be decoded: {error}".replace(str(path), file.name)) from error
        sizes = sorted((width, height)), sorted((file.width, file.height))  # scaled copies are upright
        smaller = outcome.url == file.scaled_url and sizes[0] != sizes[1]
        changes = f"scaled by the wiki from {file.width} x {file.height} pixels to {width} x {height}" * smaller
        return outcome._replace(width=width, height=height, changes=changes)

    def _record(self, outcome: Outcome) -> None:
        with open(self.journal, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(outcome._asdict(), ensure_ascii=False) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        self.outcomes[outcome.pageid] = outcome


class TooLarge(Exception):
    """The file has more bytes than the upper limit."""


class Damaged(Exception):
    """The bytes received are not those announced."""


class _ProgressLog:
    """Logs progress, speed and remaining time of the downloads at intervals."""

    def __init__(self) -> None:
        self._started = self._logged = time.monotonic()
        self._bytes = self._count = 0

    def step(self, size: int, done: int, expected: int) -> None:
        self._bytes, self._count = self._bytes + size, self._count + 1
        now = time.monotonic()
        if now - self._logged < LOG_INTERVAL_S:
            return
        self._logged, spent = now, now - self._started
        rate = self._count / spent
        minutes = max(0, expected - done) / rate / 60
        speed = self._bytes / spent / 1e6
        log.info(
            "%d of %d photos, %.2f per second, %.2f MB/s, about %.1f minutes left", done, expected, rate, speed, minutes
        )


def _save(response: Response, path: Path, file: CommonsFile, smaller: bool, max_bytes: int) -> tuple[str, int]:
    """Write the response's body to `path`; its SHA-256 and its length in bytes.

    Raises: Damaged where type, length or, of an original, SHA-1 are not those stated; TooLarge.
    """
    kind = response.headers.get_content_type() if "Content-Type" in response.headers else "image/"
    if not kind.startswith("image/") and kind != "application/octet-stream":
        raise Damaged(f"the server sent {kind}")
    announced = response.headers.get("Content-Length")
    plain = response.headers.get("Content-Encoding", "identity").lower() in ("", "identity")
    if not plain:
        raise Damaged("the server compressed it")
    sha256, sha1, size = hashlib.sha256(), hashlib.sha1(usedforsecurity=False), 0
    with open(path, "wb") as stream:
        while chunk := response.read(CHUNK_BYTES):
            size += len(chunk)
            if size > (max_bytes or MAX_BYTES):
                raise TooLarge(f"size: more than {max_bytes or MAX_BYTES} bytes")
            sha256.update(chunk)
            sha1.update(chunk)
            stream.write(chunk)
        stream.flush()
        os.fsync(stream.fileno())
    if announced and announced.isdigit() and size != int(announced):
        raise Damaged(f"{size} of {announced} bytes received")
    if not smaller and file.sha1 and sha1.hexdigest() != file.sha1.lower():
        raise Damaged(f"SHA-1 is {sha1.hexdigest()}, the wiki states {file.sha1}")
    return sha256.hexdigest(), size


def _read(journal: Path) -> list[Outcome]:
    """Outcomes in a journal; an incomplete last line, left by a kill, is removed from it."""
    if not journal.is_file():
        return []
    found: list[Outcome] = []
    whole = 0
    raw = journal.read_bytes()
    for line in raw.splitlines(keepends=True):
        try:
            entry: dict[str, Any] = json.loads(line)
            found.append(Outcome(**entry))
        except (ValueError, TypeError):
            break
        if not line.endswith(b"\n"):
            found.pop()
            break
        whole += len(line)
    if whole < len(raw):
        os.truncate(journal, whole)
    return found
