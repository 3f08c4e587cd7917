"""A local server that speaks OpenAI's chat completions, and misbehaves as it is told."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from halonerf.distillers.openai_server import OpenaiServer
from halonerf.types import ImageRecord

Fault = Callable[[BaseHTTPRequestHandler], None] | int | str


class MadeServer:
    """faults: what the next requests meet, one each: a status, "garbage", "slow", "cut", or a function of the handler.

    seen: bodies of all requests, in order. held: most requests at a time. answer: the text of an answer to a body.
    """

    def __init__(self, answer: Callable[[dict[str, Any]], str]) -> None:
        self.answer, self.faults = answer, deque[Fault]()
        self.seen: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.probes, self.held, self.delay, self.key = 0, 0, 0.0, ""
        self.refused_formats: set[str] = set()
        self.finish, self.closed = "stop", False
        self._now, self._lock = Counter[str](), threading.Lock()

    @contextmanager
    def running(self, port: int = 0) -> Iterator[str]:
        """The URL, for as long as the context lasts."""
        self.closed = False
        server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        finally:
            self.closed = True  # connections that are still open are cut at their next request
            server.shutdown()
            server.server_close()
            thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        made = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # one packet an answer

            def log_message(self, *_: Any) -> None:
                return

            def do_GET(self) -> None:
                made.probes += 1
                if made.closed:
                    self.close_connection = True
                    return
                send(self, 200, {"data": [{"id": "tiny"}]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with made._lock:
                    made.seen.append(body)
                    made.headers.append(dict(self.headers))
                    made.times.append(time.monotonic())
                    made._now["held"] += 1
                    made.held = max(made.held, made._now["held"])
                    fault = made.faults.popleft() if made.faults else None
                try:
                    made._respond(self, body, fault)
                finally:
                    with made._lock:
                        made._now["held"] -= 1

        return Handler

    def _respond(self, handler: BaseHTTPRequestHandler, body: dict[str, Any], fault: Fault | None) -> None:
        time.sleep(self.delay)
        if fault == "cut" or self.closed:
            handler.close_connection = True
        elif self.key and handler.headers.get("Authorization") != f"Bearer {self.key}":
            send(handler, 401, {"error": "wrong key"})
        elif body.get("response_format", {}).get("type") in self.refused_formats:
            send(handler, 400, {"error": "response_format is not supported"})
        elif fault == "slow":
            time.sleep(1.0)
            handler.close_connection = True
        elif fault == "garbage":
            send_bytes(handler, 200, b"\xff\xfe<html>busy</html>")
        elif isinstance(fault, int):
            send(handler, fault, {"error": f"told to say {fault}"})
        elif callable(fault):
            fault(handler)
        else:
            message = {"role": "assistant", "content": self.answer(body)}
            send(
                handler,
                200,
                {
                    "choices": [{"index": 0, "message": message, "finish_reason": self.finish}],
                    "usage": {"prompt_tokens": 100, "completion_tokens": 20},
                },
            )


def send(handler: BaseHTTPRequestHandler, status: int, value: Any, **headers: str) -> None:
    """Answer with JSON; underscores in the headers' names are dashes."""
    send_bytes(handler, status, json.dumps(value).encode(), **headers)


def send_bytes(handler: BaseHTTPRequestHandler, status: int, raw: bytes, **headers: str) -> None:
    """Answer with these bytes."""
    handler.send_response(status)
    for name, entry in {"Content-Length": str(len(raw)), **headers}.items():
        handler.send_header(name.replace("_", "-"), entry)
    handler.end_headers()
    handler.wfile.write(raw)


def read_record(body: dict[str, Any]) -> dict[str, str]:
    """The fields that the structured prompt shows."""
    text = body["messages"][-1]["content"]
    lines = (line.partition(": ") for line in text.splitlines() if ": " in line)
    return {name: entry for name, _, entry in lines}


def obedient(body: dict[str, Any]) -> str:
    """What a simple model would say: the first part that it knows, also where a caption orders it to."""
    record = read_record(body)
    told = " ".join(record.values()).lower()
    for word in ("portal", "dome", "window", "tower"):
        if word in told:
            claim = {"label": word, "confidence": 0.9, "evidence": word}
            return json.dumps({"labels": [claim], "language": "en"})
    return '{"labels": [], "language": "und"}'


QUICK = {"backoff_s": 0.01, "timeout_s": 20.0, "patience_s": 10.0, "retries": 3, "workers": 8}


def records(count: int) -> list[ImageRecord]:
    """Records that say plainly what is shown."""
    return [ImageRecord(f"a/{i}.jpg", "A minster", f"{i}.jpg", f"The west portal, no. {i}") for i in range(count)]


def distiller(url: str, **options: Any) -> OpenaiServer:
    """One that asks the server at `url` and does not wait long."""
    return OpenaiServer("tiny", url, **{**QUICK, **options})


def lines(folder: Path) -> list[dict[str, Any]]:
    """The trace of a run."""
    return [json.loads(line) for line in (folder / "responses.jsonl").read_text().splitlines()]
