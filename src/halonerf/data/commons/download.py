"""Fetches photos one after another, checks each, and keeps a journal, so that a killed run goes on."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from halonerf.data.commons.filter import within
from halonerf.data.commons.http_client import Gone, PoliteHttp, Unanswered
from halonerf.data.commons.media_file import CommonsFile

log = logging.getLogger(__name__)

CHUNK = 1 << 16
FORMATS = frozenset(("JPEG", "MPO", "PNG", "WEBP"))  # MPO: a JPEG with a second picture after it, as some phones write
TRIES = 3  # times that a photo is asked for that comes damaged
GIVE_UP = 3  # files in a row without an answer
SAY_EVERY = 10.0  # s


class Outcome(NamedTuple):
    """What became of a file. Where `problem` is empty, the photo is there."""

    pageid: int
    problem: str = ""
    url: str = ""
    sha256: str = ""
    bytes: int = 0
    width: int = 0
    height: int = 0
    changes: str = ""  # against the original


class Downloads:
    """The photos of a collection on their way to disk.

    Args:
        http: makes the requests.
        folder: where the photos go.
        journal: a line of JSON for every file that is done with.
        limits: bytes of a photo, least and most; 0: none.
    """

    def __init__(self, http: PoliteHttp, folder: Path, journal: Path, limits: tuple[int, int]) -> None:
        self.http, self.folder, self.journal, self.limits = http, folder, journal, limits
        folder.mkdir(parents=True, exist_ok=True)
        self.outcomes = {outcome.pageid: outcome for outcome in _read(journal)}
        self._pace = _Pace()
        self._kept = sum(not outcome.problem for outcome in self.outcomes.values())
        self._unsure: list[tuple[Outcome, Unanswered]] = []  # is it the files, or the server?
        self._alive = False

    def fetch(self, file: CommonsFile, scaled: bool, expected: int) -> Outcome:
        """The outcome of a file, known already or found out now.

        A wiki may fail to scale one photo for ever. So a file that gets no answer is passed over, and left out for good
        once a later one was answered.

        Args:
            scaled: take the smaller copy where there is one.
            expected: how many photos there may be in all, for the log.

        Raises: Unanswered for the third file in a row that gets no answer.
        """
        known = self.outcomes.get(file.pageid)
        if known and (known.problem or (self.folder / file.name).is_file()):
            return known
        smaller = scaled and bool(file.scaled_url)
        url = file.scaled_url if smaller else file.url
        try:
            outcome = self._tried(file, url, smaller)
        except Unanswered as error:
            if len(self._unsure) + 1 == GIVE_UP:
                raise
            outcome = Outcome(file.pageid, f"no answer: {error}".partition("\n")[0], url)
            self._unsure.append((outcome, error))
            return outcome
        for silent, _ in self._unsure:
            self._note(silent)
        self._unsure, self._alive = [], True
        self._note(outcome)
        self._kept += not outcome.problem
        self._pace.step(outcome.bytes, self._kept, expected)
        return outcome

    def finalise(self) -> None:
        """After the last file.

        Raises: Unanswered where a file got no answer, and no other one says that the server is there.
        """
        if self._unsure and not self._alive:
            raise self._unsure[-1][1]

    def _tried(self, file: CommonsFile, url: str, smaller: bool) -> Outcome:
        partial, problem = self.journal.with_name("photo.partial"), ""
        for _ in range(TRIES):
            try:
                sha256, size = self.http.ask(url, lambda answer: _save(answer, partial, file, smaller, self.limits[1]))
            except (Gone, TooLarge) as error:
                return Outcome(file.pageid, str(error), url)
            except Damaged as error:
                problem = f"came damaged {TRIES} times: {error}"
                continue
            outcome = self._checked(file, partial, Outcome(file.pageid, "", url, sha256, size))
            if not outcome.problem:
                partial.replace(self.folder / file.name)
            return outcome
        return Outcome(file.pageid, problem, url)

    def _checked(self, file: CommonsFile, path: Path, outcome: Outcome) -> Outcome:
        if not within(outcome.bytes, self.limits):
            return outcome._replace(problem=f"size: {outcome.bytes} bytes")
        try:
            with Image.open(path) as image:
                kind, (width, height) = image.format, image.size
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            return outcome._replace(problem=f"cannot be read as a photo: {error}".replace(str(path), file.name))
        if kind not in FORMATS:
            return outcome._replace(problem=f"not a photo: {kind}")
        sizes = sorted((width, height)), sorted((file.width, file.height))  # scaled copies are turned upright
        smaller = outcome.url == file.scaled_url and sizes[0] != sizes[1]
        changes = f"scaled by the wiki from {file.width} x {file.height} pixels to {width} x {height}" * smaller
        return outcome._replace(width=width, height=height, changes=changes)

    def _note(self, outcome: Outcome) -> None:
        with open(self.journal, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(outcome._asdict(), ensure_ascii=False) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        self.outcomes[outcome.pageid] = outcome


class TooLarge(Exception):
    """More bytes than are wanted."""


class Damaged(Exception):
    """What came is not what was announced."""


class _Pace:
    """Says now and then how far the downloads are, how fast, and how long the rest will take."""

    def __init__(self) -> None:
        self._started = self._said = time.monotonic()
        self._bytes = self._count = 0

    def step(self, size: int, done: int, expected: int) -> None:
        self._bytes, self._count = self._bytes + size, self._count + 1
        now = time.monotonic()
        if now - self._said < SAY_EVERY:
            return
        self._said, spent = now, now - self._started
        rate = self._count / spent
        left = max(0, expected - done) / rate / 60
        speed = self._bytes / spent / 1e6
        log.info(
            "%d of %d photos, %.2f a second, %.2f MB/s, about %.1f minutes left", done, expected, rate, speed, left
        )


def _save(answer: HTTPResponse, path: Path, file: CommonsFile, smaller: bool, largest: int) -> tuple[str, int]:
    """Write the answer's body: its SHA-256 and its bytes. The original's SHA-1 must be the one that the wiki states."""
    kind = answer.headers.get_content_type() if "Content-Type" in answer.headers else "image/"
    if not kind.startswith("image/") and kind != "application/octet-stream":
        raise Damaged(f"the server sent {kind}")
    announced = answer.headers.get("Content-Length")
    plain = answer.headers.get("Content-Encoding", "identity").lower() in ("", "identity")
    if not plain:
        raise Damaged("it came packed")
    sha256, sha1, size = hashlib.sha256(), hashlib.sha1(usedforsecurity=False), 0
    with open(path, "wb") as stream:
        while chunk := answer.read(CHUNK):
            size += len(chunk)
            if largest and size > largest:
                raise TooLarge(f"size: more than {largest} bytes")
            sha256.update(chunk)
            sha1.update(chunk)
            stream.write(chunk)
        stream.flush()
        os.fsync(stream.fileno())
    if announced and announced.isdigit() and size != int(announced):
        raise Damaged(f"{size} of {announced} bytes came")
    if not smaller and file.sha1 and sha1.hexdigest() != file.sha1.lower():
        raise Damaged(f"SHA-1 {sha1.hexdigest()} came, the wiki states {file.sha1}")
    return sha256.hexdigest(), size


def _read(journal: Path) -> list[Outcome]:
    """The outcomes in a journal; a last line that was cut off by a kill is left out, and off."""
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
