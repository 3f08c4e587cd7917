"""Whatever a server answers, the collector ends in time: with photos, or an error that says what came."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from halonerf.data.collection import Collection
from halonerf.data.commons.corpus import Commons
from halonerf.data.commons.http_client import private_addresses
from halonerf.errors import UserError
from helpers.made_commons import CONTACT, Fault, MadeCommons, photo_bytes, serving

ROOT = "Ulm Minster"
QUICK = {"rate": 1000.0, "pause": 0.01, "retries": 1, "timeout": 0.5, "min_pixels": 0, "contact": CONTACT}
MANY = 10_000  # times: every answer
SECONDS = 30.0  # a run takes one or two
JPEG = {"Content-Type": "image/jpeg"}


@pytest.fixture
def wiki(monkeypatch: pytest.MonkeyPatch) -> Iterator[MadeCommons]:
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    made = MadeCommons()
    made.categories = {ROOT: []}
    for i in range(3):
        made.add(f"{i}.jpg", ROOT, labels={"en": f"tower {i}"})
    with serving(made):
        yield made


def outcome(wiki: MadeCommons, folder: Path, **options: Any) -> list[str] | str:
    """The photos that were collected, or the message of the error."""
    folder.mkdir(parents=True, exist_ok=True)
    started, message = time.monotonic(), ""
    try:
        Commons(ROOT, **{**QUICK, "api": wiki.api, **options}).collect(folder)
    except UserError as error:
        message = str(error)
    assert time.monotonic() - started < SECONDS
    return message or [record.image_id for record in Collection.read(folder).records()]


def members(*pages: Any, **more: Any) -> str:
    return json.dumps({"batchcomplete": True, "query": {"pages": list(pages)}, **more})


def page(**changes: Any) -> dict[str, Any]:
    info = {"url": "http://127.0.0.1:9/x.jpg", "size": 10, "width": 9, "height": 9, "mime": "image/jpeg", "sha1": "0"}
    return {"pageid": 1, "ns": 6, "title": "File:x.jpg", "imageinfo": [info], "categories": [], **changes}


API = "generator="
ANSWERS = {
    "empty": Fault(API, 200, ""),
    "html": Fault(API, 200, "<html>proxy</html>", {"Content-Type": "text/html"}),
    "cut": Fault(API, 200, '{"query": {', cut=True),
    "null": Fault(API, 200, "null"),
    "number": Fault(API, 200, "1"),
    "list": Fault(API, 200, "[]"),
    "text": Fault(API, 200, '"text"'),
    "empty object": Fault(API, 200, "{}"),
    "not unicode": Fault(API, 200, b'{"query": "\xff\xfe"}'),
    "deep": Fault(API, 200, "[" * 100_000),
    "large number": Fault(API, 200, '{"query": ' + "9" * 10_000 + "}"),
    "gzip broken": Fault(API, 200, b"\x1f\x8b\x08\x00broken", {"Content-Encoding": "gzip"}),
    "gzip cut": Fault(API, 200, gzip.compress(members(page()).encode())[:-12], {"Content-Encoding": "gzip"}),
    "gzip bomb": Fault(API, 200, gzip.compress(b" " * (80 << 20)), {"Content-Encoding": "gzip"}),
    "brotli": Fault(API, 200, b"\x0b\x02\x80{}\x03", {"Content-Encoding": "br"}),
    "query is text": Fault(API, 200, '{"query": "x"}'),
    "query is null": Fault(API, 200, '{"query": null}'),
    "query is a list": Fault(API, 200, '{"query": []}'),
    "pages is an object": Fault(API, 200, '{"batchcomplete": true, "query": {"pages": {"1": {}}}}'),
    "pages of numbers": Fault(API, 200, members(1, 2)),
    "pages of nulls": Fault(API, 200, members(None)),
    "empty pages": Fault(API, 200, members({}, {})),
    "page without title": Fault(API, 200, members({"ns": 6, "pageid": 1})),
    "category without title": Fault(API, 200, members({"ns": 14, "pageid": 1})),
    "title is a number": Fault(API, 200, members(page(title=7))),
    "pageid is text": Fault(API, 200, members(page(pageid="x"))),
    "pageid is a list": Fault(API, 200, members(page(pageid=[1]))),
    "imageinfo is text": Fault(API, 200, members(page(imageinfo="x"))),
    "imageinfo of nulls": Fault(API, 200, members(page(imageinfo=[None]))),
    "imageinfo is an object": Fault(API, 200, members(page(imageinfo={"url": "x"}))),
    "width is text": Fault(API, 200, members(page(imageinfo=[{"url": "x", "width": "wide", "mime": "image/jpeg"}]))),
    "width is infinite": Fault(API, 200, members(page(imageinfo=[{"url": "x", "width": 1e999, "height": -1}]))),
    "extmetadata is a list": Fault(API, 200, members(page(imageinfo=[{"url": "x", "extmetadata": [1]}]))),
    "categories is text": Fault(API, 200, members(page(categories="x"))),
    "categories of texts": Fault(API, 200, members(page(categories=["x", {}, {"title": 3}]))),
    "warnings is text": Fault(API, 200, members(page(), warnings="x")),
    "error is text": Fault(API, 200, '{"error": "no"}'),
    "error without code": Fault(API, 200, '{"error": {}}'),
    "continue is text": Fault(API, 200, members(**{"continue": "x"})),
    "continue is a list": Fault(API, 200, members(**{"continue": ["x"]})),
    "the same continue": Fault(API, 200, members(**{"continue": {"gcmcontinue": "file|0"}})),
    "never complete": Fault(API, 200, json.dumps({"continue": {"gcmcontinue": "x"}})),
    "root is a list": Fault("categoryinfo", 200, members(page(ns=14, categoryinfo=[]))),
    "root without title": Fault("categoryinfo", 200, members({"ns": 14, "pageid": 1})),
    "entities is text": Fault("wbgetentities", 200, '{"entities": "x"}'),
    "entities of texts": Fault("wbgetentities", 200, '{"entities": {"M1000": "x", "M²": {"labels": {"en": 1}}}}'),
    "labels of texts": Fault("wbgetentities", 200, '{"entities": {"M1000": {"labels": {"en": "x"}}}}'),
    "photo empty": Fault("/images/", 200, b"", JPEG),
    "photo is text": Fault("/images/", 200, "<html>", {"Content-Type": "text/html"}),
    "photo compressed": Fault("/images/", 200, gzip.compress(b"x"), {**JPEG, "Content-Encoding": "gzip"}),
    "retry after never": Fault("api.php", 429, "", {"Retry-After": "9" * 400}),
    "redirect in a circle": Fault("api.php", 302, "", {"Location": "/w/api.php"}),
    "redirect to a file": Fault("api.php", 302, "", {"Location": "file:///etc/passwd"}),
    "redirect to brackets": Fault("api.php", 302, "", {"Location": "http://[x/"}),
    "redirect to nothing": Fault("api.php", 302, "", {"Location": "http://"}),
    "redirect to a long host": Fault("api.php", 302, "", {"Location": f"http://{'a' * 300}.example/"}),
    "redirect to the link-local": Fault("api.php", 302, "", {"Location": "http://169.254.169.254/latest"}),
    "redirect to a private host": Fault("/images/", 302, "", {"Location": "http://10.0.0.1/x.jpg"}),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_malformed_answers_end_in_photos_or_an_error(wiki: MadeCommons, tmp_path: Path, name: str):
    fault = ANSWERS[name]
    wiki.faults = [Fault(fault.where, fault.status, fault.body, fault.headers, MANY, fault.cut)]
    found = outcome(wiki, tmp_path)
    assert isinstance(found, str) or found == ["0.jpg", "1.jpg", "2.jpg"], found
    if fault.where in (API, "/images/"):
        assert isinstance(found, str)  # no photo can have come


def test_half_a_photo_without_a_length_is_left_out(wiki: MadeCommons, tmp_path: Path):
    whole = photo_bytes(7, 640, 480)
    wiki.add("half.jpg", ROOT, body=whole[: len(whole) // 2], width=640, height=480)
    assert outcome(wiki, tmp_path, width=0) == ["0.jpg", "1.jpg", "2.jpg"]
    assert "its pixels cannot be decoded" in (tmp_path / "left_out.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("location", ["http://169.254.169.254/x", "http://10.0.0.1/x", "http://[::ffff:10.0.0.1]/x"])
def test_redirects_to_private_addresses_are_refused(wiki: MadeCommons, tmp_path: Path, location: str):
    wiki.faults = [Fault("api.php", 302, "", {"Location": location}, MANY)]
    assert "redirect to the private address" in str(outcome(wiki, tmp_path))


def test_public_addresses_are_not_private():
    assert private_addresses("198.35.26.112") == set()
    assert private_addresses("127.0.0.1") == {"127.0.0.1"}
    assert private_addresses("no such host") == set()


@pytest.fixture
def dripping(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], str]]:
    """A server that sends its head at once and then a space every tenth of a second; gives its address."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    listener = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()
    threads: list[threading.Thread] = []

    def drip(connection: socket.socket, head: bytes) -> None:
        with connection:
            try:
                connection.sendall(head)
                while not stopped.wait(0.1):
                    connection.sendall(b" ")
            except OSError:
                return

    def accept(head: bytes) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=drip, args=(connection, head), daemon=True))
            threads[-1].start()

    def start(head: bytes) -> str:
        threads.append(threading.Thread(target=accept, args=(head,), daemon=True))
        threads[-1].start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/api.php"

    yield start
    stopped.set()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for thread in threads:
        thread.join(5)


HEADS = [
    b"",
    b"HTTP/1.1 200 OK\r\nX: ",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n",
]


@pytest.mark.parametrize("head", HEADS)
def test_a_server_that_drips_is_not_waited_for(tmp_path: Path, dripping: Callable[[bytes], str], head: bytes):
    started = time.monotonic()
    with pytest.raises(UserError, match="2 attempts failed"):
        Commons(ROOT, **{**QUICK, "api": dripping(head)}).collect(tmp_path)
    assert time.monotonic() - started < 10
