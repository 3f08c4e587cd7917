"""Failures of a wiki: what is retried, what is left out, how the next run resumes."""

from __future__ import annotations

import email.utils
import errno
import hashlib
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from ssl import SSLError
from typing import Any

import pytest

from halonerf.data.collection import Collection
from halonerf.data.commons.corpus import Commons
from halonerf.data.commons.http_client import PoliteHttp, retry_after
from halonerf.errors import BadInput
from helpers.made_commons import CONTACT, Fault, MadeCommons, serving

ROOT = "Ulm Minster"
QUICK = {"rate": 1000.0, "pause": 0.01, "retries": 2, "timeout": 5.0, "min_pixels": 0, "contact": CONTACT}


@pytest.fixture
def wiki(monkeypatch: pytest.MonkeyPatch) -> Iterator[MadeCommons]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = MadeCommons()
    made.categories, made.page_size = {ROOT: ["Towers of Ulm Minster"], "Towers of Ulm Minster": []}, 3
    for i in range(8):
        made.add(f"{i}.jpg", "Towers of Ulm Minster" if i % 2 else ROOT, labels={"en": f"tower {i}"})
    with serving(made):
        yield made


def run(wiki: MadeCommons, folder: Path, **options: Any) -> list[str]:
    """The photos that were collected."""
    folder.mkdir(parents=True, exist_ok=True)
    Commons(ROOT, **{**QUICK, "api": wiki.api, **options}).collect(folder)
    return [record.image_id for record in Collection.read(folder).records()]


ALL = [f"{i}.jpg" for i in range(8)]
SOON = email.utils.formatdate(time.time() - 5, usegmt=True)


@pytest.mark.parametrize(
    "fault",
    [
        Fault.error("maxlag", Retry_After="0"),
        Fault.error("ratelimited", times=2),
        Fault.error("readonly"),
        Fault.error("internal_api_error_DBQueryError"),
        Fault("api.php", 429, "slow down", {"Retry-After": "0"}),
        Fault("api.php", 503, "<html>", {"Retry-After": SOON}, times=2),
        Fault("api.php", 200, "<html>a proxy's own page</html>"),
        Fault("api.php", 200, '{"query": {', cut=True),
        Fault("wbgetentities", 502),
        Fault("/images/", 429, "slow down", {"Retry-After": "0"}, times=2),
        Fault("/images/", 500),
        Fault("/images/", 200, b"half", {"Content-Type": "image/jpeg"}, cut=True),
        Fault("/images/", 200, "<html>sorry</html>", {"Content-Type": "text/html"}),
        Fault("/images/", 200, b"another picture", {"Content-Type": "image/jpeg"}),
    ],
    ids=lambda f: f"{f.where} {f.status} {f.body!r}"[:45],
)
def test_transient_failures_are_retried(wiki: MadeCommons, tmp_path: Path, fault: Fault):
    times = fault.times
    wiki.faults = [fault]
    try:
        assert run(wiki, tmp_path) == ALL
        assert fault.times == 0
    finally:
        fault.times = times


def test_retry_after_is_respected(wiki: MadeCommons, tmp_path: Path):
    wiki.faults = [Fault.error("maxlag", Retry_After="1")]
    run(wiki, tmp_path)
    first, second = (moment for moment, _, _ in wiki.asked[:2])
    assert second - first >= 1.0


def test_a_retry_after_beyond_patience_ends_the_run(wiki: MadeCommons, tmp_path: Path):
    wiki.faults = [Fault("api.php", 429, "", {"Retry-After": "3600"})]
    with pytest.raises(BadInput, match=r"corpus\.patience=600 s.*demands 3600 s"):
        run(wiki, tmp_path)
    assert run(wiki, tmp_path) == ALL


def test_requests_are_sequential_rate_limited_and_name_the_contact(wiki: MadeCommons, tmp_path: Path):
    run(wiki, tmp_path, rate=40.0)
    moments = [moment for moment, _, _ in wiki.asked]
    assert wiki.most_at_once == 1
    assert (moments[-1] - moments[0]) / (len(moments) - 1) >= 1 / 40 - 0.002  # clocks of two threads
    assert all(
        CONTACT in headers["User-Agent"] and "halonerf/" in headers["User-Agent"] for _, _, headers in wiki.asked
    )


def test_a_refused_request_is_reported_and_not_repeated(wiki: MadeCommons, tmp_path: Path):
    with pytest.raises(BadInput, match=r"(?s)HTTP 403.*comply with the User-Agent policy.*corpus\.contact"):
        run(wiki, tmp_path, contact="https://example.org/elsewhere")
    assert len(wiki.asked) == 1


def test_permanent_errors_are_reported_and_not_retried(wiki: MadeCommons, tmp_path: Path):
    wiki.faults = [Fault.error("invalidcategory")]
    with pytest.raises(BadInput, match="'invalidcategory': made: invalidcategory"):
        run(wiki, tmp_path)
    assert len(wiki.asked) == 1


def test_a_wiki_without_structured_captions(wiki: MadeCommons, tmp_path: Path):
    wiki.faults = [Fault("wbgetentities", 200, '{"error": {"code": "badvalue", "info": "no such action"}}', times=99)]
    assert run(wiki, tmp_path) == ALL
    assert wiki.count("wbgetentities") == 1
    assert {record.caption for record in Collection.read(tmp_path).records()} == {""}


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/x", "nonsense", "http://"])
def test_only_web_addresses_are_opened(wiki: MadeCommons, tmp_path: Path, url: str):
    with pytest.raises(BadInput, match=r"not a web address.*\n.*corpus\.api=URL"):
        run(wiki, tmp_path, api=url)


def test_redirects_are_followed_but_not_to_local_files(wiki: MadeCommons, tmp_path: Path):
    wiki.faults = [
        Fault("/images/0.jpg", 302, "", {"Location": "/images/1.jpg?now=0"}),
        Fault("/images/2.jpg", 302, "", {"Location": "file:///etc/passwd"}),
        Fault("/images/4.jpg", 301, "", {"Location": "/images/4.jpg"}, times=99),
    ]
    wiki.files["0.jpg"].sha1 = hashlib.sha1(wiki.files["1.jpg"].body).hexdigest()
    assert run(wiki, tmp_path) == ["0.jpg", "3.jpg", "5.jpg", "6.jpg", "7.jpg"]
    reasons = (tmp_path / "left_out.csv").read_text()
    assert "1.jpg,duplicate: the same file as 0.jpg" in reasons
    assert reasons.count("HTTP 30") == 2


def test_one_photo_without_a_response_is_left_out(wiki: MadeCommons, tmp_path: Path):
    wiki.faults = [Fault("/images/4.jpg", 500, "no thumbnail", times=999)]
    assert run(wiki, tmp_path) == [name for name in ALL if name != "4.jpg"]
    assert "no response" in (tmp_path / "left_out.csv").read_text()


def test_a_dead_server_ends_the_run_without_losing_photos(wiki: MadeCommons, tmp_path: Path):
    wiki.faults = [Fault("/images/", 503, "down", times=999)]
    with pytest.raises(BadInput, match=r"3 attempts failed; the last: HTTP 503.*\n.*same command"):
        run(wiki, tmp_path)
    wiki.faults = []
    answers = wiki.count("api.php")
    assert run(wiki, tmp_path) == ALL
    assert wiki.count("api.php") == answers, "what the wiki told once is not asked again"


def test_a_server_that_refuses_connections_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving(MadeCommons()) as wiki:
        api = wiki.api
    with pytest.raises(BadInput, match=r"3 attempts failed; the last: URLError: .*refused"):
        Commons(ROOT, **{**QUICK, "api": api}).collect(tmp_path)


def test_a_full_disk_is_not_retried(wiki: MadeCommons):
    def full(answer: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    http = PoliteHttp(f"tests ({CONTACT})", rate=1000.0, timeout=5.0, retries=3, pause=0.01, patience=1.0)
    with pytest.raises(OSError, match="No space left"):
        http.get(f"{wiki.host}/images/0.jpg", full)
    assert len(wiki.asked) == 1


@pytest.mark.parametrize("error", [ConnectionResetError(), TimeoutError(), OSError(errno.ENETUNREACH, "x"), SSLError()])
def test_a_broken_connection_is_retried(wiki: MadeCommons, error: Exception):
    def breaking(answer: object) -> None:
        if len(wiki.asked) < 3:
            raise error

    http = PoliteHttp(f"tests ({CONTACT})", rate=1000.0, timeout=5.0, retries=3, pause=0.01, patience=1.0)
    http.get(f"{wiki.host}/images/0.jpg", breaking)
    assert len(wiki.asked) == 3


def test_a_truncated_journal_is_resumed(wiki: MadeCommons, tmp_path: Path):
    wiki.faults = [Fault("/images/6.jpg", 403)]
    with pytest.raises(BadInput, match="HTTP 403"):
        run(wiki, tmp_path)
    journal = tmp_path / "progress" / "photos.jsonl"
    lines = journal.read_bytes()
    journal.write_bytes(lines[:-20])
    before = wiki.count("/images/")
    assert run(wiki, tmp_path) == ALL
    assert wiki.count("/images/") - before == 8 - lines.count(b"\n") + 1


def killed_after(wiki: MadeCommons, folder: Path, requests: int) -> bool:
    """Collect in a process of its own, killed when it makes a certain request; whether it was."""
    folder.mkdir(parents=True, exist_ok=True)
    child = multiprocessing.get_context("fork").Process(target=run, args=(wiki, folder))
    start = len(wiki.asked)

    def kill(number: int) -> None:
        if number - start == requests and child.pid:
            os.kill(child.pid, signal.SIGKILL)

    wiki.before_answer = kill
    child.start()
    child.join(60)
    wiki.before_answer = lambda number: None
    return child.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("moments", [(1, 1, 1), (5, 6, 2, 1), (16, 1)])
def test_a_killed_run_resumes(wiki: MadeCommons, tmp_path: Path, moments: tuple[int, ...]):
    run(wiki, tmp_path / "unbroken")
    unbroken = len(wiki.asked)
    for requests in moments:
        assert killed_after(wiki, tmp_path / "killed", requests)
    run(wiki, tmp_path / "killed")
    files = sorted(p.relative_to(tmp_path / "unbroken") for p in (tmp_path / "unbroken").rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(tmp_path / "killed") for p in (tmp_path / "killed").rglob("*") if p.is_file())
    for file in files:
        assert (tmp_path / "killed" / file).read_bytes() == (tmp_path / "unbroken" / file).read_bytes(), file
    again = len(wiki.asked) - 2 * unbroken
    assert again <= 2 * len(moments), "a kill costs the request under way, and the batch it belongs to"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, None), ("7", 7.0), ("-3", 0.0), ("soon", None), ("", None), pytest.param(SOON, 0.0, id="now")],
)
def test_retry_after_is_read_in_both_forms(value: str | None, seconds: float | None):
    assert retry_after(value) == seconds


def test_retry_after_a_future_date():
    asked = retry_after(email.utils.formatdate(time.time() + 100, usegmt=True))
    assert asked is not None
    assert 95 < asked <= 100
