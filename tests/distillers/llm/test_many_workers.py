"""What several processes keep in one folder: answers in one file, traces in a file each."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path
from typing import Any

from halonerf.distillers.llm.answer_cache import AnswerCache, Reply
from halonerf.distillers.llm.trace import Trace


def ask(folder: str, worker: int, answers: int) -> None:
    """A worker that keeps its cache open, and writes whenever it likes."""
    cache = AnswerCache(Path(folder))
    for number in range(answers):
        cache.put(f"{worker}-{number}", Reply(f"answer {number} of {worker}", 1, 2, 0.5))
        if number % 3 == 0:
            cache.commit()
    cache.close()


def line(image: str, **rest: Any) -> dict[str, Any]:
    return {"image_id": image, "prompt": f"hash of {image}", **rest}


def test_no_answer_is_lost_where_several_write(tmp_path: Path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=ask, args=(str(tmp_path), worker, 60)) for worker in range(3)]
    for process in workers:
        process.start()
    for process in workers:
        process.join(60)
        assert process.exitcode == 0
    cache = AnswerCache(tmp_path)
    found = cache.get(f"{worker}-{number}" for worker in range(3) for number in range(60))
    assert len(found) == 180
    assert found["2-59"] == Reply("answer 59 of 2", 1, 2, 0.5)
    cache.close()


def test_a_waiting_process_does_not_lock_others_out(tmp_path: Path):
    slow, other = AnswerCache(tmp_path), AnswerCache(tmp_path)
    slow.put("a", Reply("first"))
    slow.put("b", Reply("second \ud800"))  # not yet on disk: the model is at work on the next one
    other._base.execute("PRAGMA busy_timeout = 0")  # would fail at once
    other.put("c", Reply("third"))
    other.commit()
    assert slow.get(["a", "b", "c"]) == {"a": Reply("first"), "b": Reply("second ?"), "c": Reply("third")}
    assert other.get(["b"]) == {}
    slow.commit()
    assert other.get(["a", "b"]) == {"a": Reply("first"), "b": Reply("second ?")}
    slow.close()
    other.close()


def test_traces_of_workers_are_merged_without_repetition(tmp_path: Path):
    """One of them was killed in a line, and another did its records again."""
    Trace(tmp_path).add([line("0.jpg")])
    Trace(tmp_path, "a").add([line("1.jpg"), line("2.jpg")])
    with open(tmp_path / "responses-a.jsonl", "a") as stream:
        stream.write(json.dumps(line("3.jpg"))[:-5])
    Trace(tmp_path, "b").add([line("2.jpg", again=True), line("3.jpg"), line("0.jpg")])
    Trace(tmp_path).gather()
    assert [path.name for path in tmp_path.iterdir()] == ["responses.jsonl"]
    kept = [json.loads(text) for text in (tmp_path / "responses.jsonl").read_text().splitlines()]
    assert kept == [line("0.jpg"), line("1.jpg"), line("2.jpg"), line("3.jpg")]
    Trace(tmp_path).gather()
    assert len((tmp_path / "responses.jsonl").read_text().splitlines()) == 4
