"""`openai_server` against a local server that is busy, broken, slow, away, or wrong."""

from __future__ import annotations

import json
import logging
import threading
import time
from email.utils import formatdate
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from halonerf.errors import BadInput
from helpers.made_server import MadeServer, distiller, lines, obedient, records, send


@pytest.fixture
def server() -> MadeServer:
    return MadeServer(obedient)


def test_labels_trace_and_figures(server: MadeServer, tmp_path: Path):
    with server.running() as url:
        one = distiller(url)
        one.open(tmp_path)
        labels = one.distill(records(20))
        assert [label.image_id for label in labels] == [record.image_id for record in records(20)]
        assert {(label.label, label.confidence, label.evidence) for label in labels} == {("portal", 0.9, "portal")}
        figures = one.figures()
    assert {name: figures[name] for name in ("records_read", "queries", "cache_hits", "tokens_in", "tokens_out")} == {
        "records_read": 20, "queries": 20, "cache_hits": 0, "tokens_in": 2000, "tokens_out": 400,
    }  # fmt: skip
    assert figures["requests"] == 20
    assert figures["failures"] == {}
    assert figures["tokens_per_s"] > 0
    trace = lines(tmp_path)
    assert [line["image_id"] for line in trace] == [label.image_id for label in labels]
    assert len({line["prompt"] for line in trace}) == 20
    assert all(line["model"] == "tiny" and line["labels"] == ["portal"] and not line["failure"] for line in trace)
    assert all(line["answer"] == obedient(body) for line, body in zip(trace[:1], server.seen[:1], strict=True))
    body = server.seen[0]
    assert body["response_format"]["json_schema"]["schema"] == one.schema
    assert body["temperature"] == 0.0


def test_requests_are_concurrent_up_to_workers(server: MadeServer):
    server.delay = 0.05
    with server.running() as url:
        started = time.perf_counter()
        distiller(url, workers=6).distill(records(24))
        seconds = time.perf_counter() - started
    assert 2 <= server.held <= 6
    assert seconds < 0.05 * 24


@pytest.mark.parametrize("fault", [500, 502, 408, "garbage", "cut", "slow"])
def test_transient_failures_are_retried(server: MadeServer, fault: Any):
    server.faults.extend([fault, fault])
    patient = {"timeout_s": 0.5} if fault == "slow" else {}
    with server.running() as url:
        one = distiller(url, workers=1, **patient)
        assert [label.label for label in one.distill(records(2))] == ["portal", "portal"]
        assert one.figures()["requests"] >= 4
        assert one.figures()["failures"] == {}


@pytest.mark.parametrize("date", [False, True])
def test_all_requests_respect_retry_after(server: MadeServer, date: bool):
    def busy(handler: Any) -> None:
        pause = formatdate(time.time() + 2, usegmt=True) if date else "0.4"  # whole seconds in a date: 1 to 2 s
        send(handler, 429, {"error": "slow down"}, Retry_After=pause)

    server.faults.append(busy)
    with server.running() as url:
        assert len(distiller(url, workers=1).distill(records(3))) == 3
    assert server.times[1] - server.times[0] >= (0.9 if date else 0.39)
    assert len(server.seen) == 4


def test_the_rate_is_limited(server: MadeServer):
    with server.running() as url:
        distiller(url, per_minute=1200).distill(records(7))
    gaps = [later - earlier for earlier, later in zip(server.times, server.times[1:], strict=False)]
    assert sum(gaps) >= 6 * 0.05 - 0.02  # 1,200 a minute: one each 50 ms


@pytest.mark.parametrize(("fault", "kind"), [(500, "http_500"), ("garbage", "garbage"), ("slow", "timeout")])
def test_a_request_that_always_fails_is_counted_and_skipped(server: MadeServer, fault: Any, kind: str, tmp_path: Path):
    server.faults.extend([fault] * 3)
    with server.running() as url:
        one = distiller(url, workers=1, retries=2, timeout_s=0.5)
        one.open(tmp_path)
        labels = one.distill(records(2))
        assert [label.label for label in labels] == ["", "portal"]
        assert one.figures()["failures"] == {kind: 1}
        assert [line["failure"] for line in lines(tmp_path)] == [kind, ""]
        assert one.distill(records(1))[0].label == "portal"  # a failure is not remembered as an answer


def test_servers_without_schemas_get_a_weaker_format(server: MadeServer):
    server.refused_formats = {"json_schema", "json_object"}
    with server.running() as url:
        one = distiller(url, workers=1)
        assert [label.label for label in one.distill(records(3))] == ["portal"] * 3
    assert ["response_format" in body for body in server.seen] == [True, True, False, False, False]


def test_a_refused_request_does_not_weaken_the_format(server: MadeServer):
    with server.running() as url:
        one = distiller(url, workers=1)
        one.distill(records(1))
        server.faults.append(400)
        assert [label.label for label in one.distill(records(3))] == ["portal", "", "portal"]
        assert one.figures()["failures"] == {"http_400": 1}
    assert all("response_format" in body for body in server.seen)


def test_a_dead_server_pauses_the_run(server: MadeServer, caplog: pytest.LogCaptureFixture):
    with server.running() as url:
        port = int(url.split(":")[2].split("/")[0])
    one = distiller(url)
    stop = threading.Event()

    def come_back() -> None:
        time.sleep(0.4)
        with server.running(port):
            stop.wait(20)

    thread = threading.Thread(target=come_back)
    thread.start()
    try:
        with caplog.at_level(logging.WARNING):
            labels = one.distill(records(12))
    finally:
        stop.set()
        thread.join()
    assert [label.label for label in labels] == ["portal"] * 12
    assert [record.message.count("paused") for record in caplog.records if "no answer" in record.message] == [1]
    assert "resumes by itself" in caplog.text
    assert "answers again" in caplog.text


def test_a_server_that_stays_down_ends_the_run_and_its_answers_are_kept(server: MadeServer, tmp_path: Path):
    with server.running() as url:
        one = distiller(url, patience_s=0.3)
        one.open(tmp_path)
        one.distill(records(5))
    with pytest.raises(BadInput, match=r"(?s)down for 0\.3 s.*kept.*same command") as caught:
        one.distill(records(8))
    assert url in str(caught.value)
    with server.running() as url:
        other = distiller(url)
        other.open(tmp_path)
        assert len(other.distill(records(8))) == 8
        assert other.figures()["cache_hits"] == 5
    assert [line["image_id"] for line in lines(tmp_path)] == [record.image_id for record in records(8)]  # none twice


def test_the_key_comes_from_the_environment(server: MadeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    server.key = "secret-4711"
    with server.running() as url:
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        with pytest.raises(BadInput, match="export OPENAI_API_KEY="):
            distiller(url).distill(records(1))
        assert "Authorization" not in server.headers[0]
        monkeypatch.setenv("MY_KEY", "secret-4711")
        one = distiller(url, key_variable="MY_KEY")
        one.open(tmp_path)
        assert one.distill(records(1))[0].label == "portal"
        assert "secret" not in json.dumps(one.figures())
    assert all(b"secret" not in path.read_bytes() for path in tmp_path.iterdir())


def test_redirects_are_not_followed(server: MadeServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    thief = MadeServer(obedient)
    with thief.running() as elsewhere, server.running() as url:
        server.faults.append(partial(send, status=307, value={}, Location=f"{elsewhere}/chat/completions"))
        one = distiller(url)
        assert one.distill(records(1))[0].label == ""
        assert one.figures()["failures"] == {"http_307": 1}
    assert not thief.seen


def test_an_unknown_model_is_reported(server: MadeServer):
    server.faults.append(404)
    with server.running() as url, pytest.raises(BadInput, match=r"(?s)tiny.*curl http.*/models"):
        distiller(url).distill(records(1))
