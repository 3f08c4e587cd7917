"""`distill.engine=ray`: the same labels as in one process, also where workers, or the whole run, are killed."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from halonerf.distillers.llm.answer_cache import AnswerCache
from halonerf.errors import BadInput, MissingExtra
from halonerf.stages.distill import ray as distill_ray
from halonerf.stages.distill.stage import Distill
from helpers.made_corpus import corpus_of
from helpers.made_folders import run_stage
from helpers.places import ROOT
from helpers.tiny_language import write_llama

RULES = {"_target_": "halonerf.distillers.Rules"}
CAPTIONS = ("The portal", "Tympanum", "nothing", "Rose window", "The \ud800 organ", "View from the tower", "=1+1")
FAKE = str(ROOT / "tests" / "helpers" / "fake_vllm")
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray: pip install 'halonerf[ray]'")


def records(count: int) -> list[dict[str, Any]]:
    return [{"id": f"{i}.jpg", "text": f"{CAPTIONS[i % 7]}, part {i}", "truth": ["portal"]} for i in range(count)]


def run(folder: Path, stage: Distill) -> Distill:
    folder.mkdir(exist_ok=True)
    stage.needs = ()  # type: ignore[misc]
    run_stage(stage, folder, {})
    return stage


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """For Ray's processes: where to find this folder's modules; and workers as important as everything else."""
    folders = filter(None, (str(Path(__file__).parent), str(ROOT / "tests"), FAKE, os.environ.get("PYTHONPATH")))
    return {"PYTHONPATH": os.pathsep.join(folders), "RAY_worker_niceness": "0"}


@pytest.fixture(scope="module")
def ray(environment: dict[str, str]) -> Iterator[Any]:
    """One cluster for all tests here: starting one takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        with distill_ray.cluster(None, 2) as started:
            yield started


@needs_ray
def test_the_same_table_as_in_one_process(tmp_path: Path, ray: Any):
    corpus = corpus_of(tmp_path, records(90))
    one = run(tmp_path / "local", Distill(RULES, corpus, batch=8))
    two = run(tmp_path / "ray", Distill(RULES, corpus, batch=8, engine="ray", workers=2))
    for name in ("labels.csv", "metrics.json"):
        assert (one.folder / name).read_bytes() == (two.folder / name).read_bytes()
    figures = [{k: v for k, v in stage.summary().items() if k != "records_per_s"} for stage in (one, two)]
    assert figures[0] == figures[1]
    assert not (two.folder / "parts" / "records").exists()


@needs_ray
def test_a_killed_worker_loses_and_repeats_nothing(tmp_path: Path, ray: Any):
    """kill -9 for one of two workers while it works; the other, and its successor, do the rest."""
    rows, notes = records(160), tmp_path / "notes"
    distiller = {"_target_": "helpers.made_distillers.Slow", "notes": str(notes)}
    corpus = corpus_of(tmp_path, rows)
    stage = Distill(distiller, corpus, batch=4, engine="ray", workers=2)
    stage.needs = ()  # type: ignore[misc]
    (tmp_path / "out").mkdir()
    stage.bind(tmp_path / "out", {}, 0)
    stage.prepare()
    for index, item in enumerate(stage.items()):
        stage.predict_step(item, index)
        if index == 5:
            workers = {int(line.split()[0]) for line in notes.read_text().splitlines()}
            assert os.getpid() not in workers
            os.kill(max(workers), signal.SIGKILL)
    stage.finish()
    at_work = [int(line.split()[0]) for line in notes.read_text().splitlines()]
    assert len(set(at_work)) >= 2
    assert len(rows) // 4 <= len(at_work) <= len(rows) // 4 + 1  # the shard that it was at was done again
    run(tmp_path / "whole", Distill(distiller, corpus, batch=4))
    assert (tmp_path / "out" / "labels.csv").read_bytes() == (tmp_path / "whole" / "labels.csv").read_bytes()


@needs_ray
def test_figures_of_a_language_model_are_those_of_all_workers(tmp_path: Path, ray: Any):
    distiller, corpus = {"_target_": "helpers.made_distillers.Parrot"}, corpus_of(tmp_path, records(60))
    one = run(tmp_path / "local", Distill(distiller, corpus, batch=5))
    two = run(tmp_path / "ray", Distill(distiller, corpus, batch=5, engine="ray", workers=2))
    timed = ("query_seconds", "answers_per_s", "tokens_per_s", "records_per_s")
    figures = [{k: v for k, v in stage.summary().items() if k not in timed} for stage in (one, two)]
    assert figures[0] == figures[1]
    assert figures[1]["queries"] == 60
    assert figures[1]["failures"] == {"timeout": 9}
    assert (one.folder / "labels.csv").read_bytes() == (two.folder / "labels.csv").read_bytes()
    traces = [sorted((stage.folder / "responses.jsonl").read_text().splitlines()) for stage in (one, two)]
    assert traces[0] == traces[1]
    assert [path.name for path in two.folder.glob("responses*")] == ["responses.jsonl"]
    cache = AnswerCache(two.folder)
    assert len(cache.get([json.loads(line)["prompt"] for line in traces[1]])) == 51
    cache.close()


@needs_ray
@pytest.mark.slow
def test_user_errors_of_workers_are_raised(tmp_path: Path, ray: Any):
    corpus = corpus_of(tmp_path, records(8))
    with pytest.raises(BadInput, match="expected a key"):
        run(
            tmp_path / "out", Distill({"_target_": "helpers.made_distillers.Refusing"}, corpus, engine="ray", workers=1)
        )
    assert ray.is_initialized()


@needs_ray
@pytest.mark.slow
def test_vllm_runs_through_rays_integration(tmp_path: Path, ray: Any, monkeypatch: pytest.MonkeyPatch):
    """With a stand-in for vLLM; `tests/distillers/test_vllm_ray_real.py` has a real one."""
    monkeypatch.syspath_prepend(FAKE)
    weights = write_llama(tmp_path / "llama")
    vllm = {"_target_": "halonerf.distillers.VllmEngine", "weights": str(weights), "labels": 1}
    vllm |= {"characters": 200, "tokens": 160, "context": 1400}
    rows = [*records(40), {"id": "refused.jpg", "text": "refused", "truth": []}]
    rows.append({"id": "long.jpg", "text": "€" * 200, "truth": []})  # three tokens each
    corpus = corpus_of(tmp_path, rows)
    try:
        one = run(tmp_path / "local", Distill(vllm, corpus, batch=6))
        two = run(tmp_path / "ray", Distill(vllm, corpus, batch=6, engine="ray", workers=1))
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "vllm"]:
            del sys.modules[name]
    assert (one.folder / "labels.csv").read_bytes() == (two.folder / "labels.csv").read_bytes()
    assert one.summary()["failures"] == {"ended_by_length": 6, "ended_by_abort": 1, "too_long": 1}
    assert two.summary()["failures"] == {"ended_by_length": 6, "engine_error": 1, "too_long": 1}
    compared = (
        "queries",
        "cache_hits",
        "tokens_in",
        "tokens_out",
        "unknown",
        "records_read",
        "labelled",
        "micro_f1_part",
    )
    assert {name: one.summary()[name] for name in compared} == {name: two.summary()[name] for name in compared}


SCRIPT = """
import sys
from pathlib import Path
from helpers.made_corpus import corpus_of
from test_ray import Distill, records, run
from halonerf.stages.distill.ray import cluster
folder = Path(sys.argv[1])
distiller = {"_target_": "helpers.made_distillers.Slow", "notes": str(folder / "notes")}
run(folder / "out", Distill(distiller, corpus_of(folder, records(120)), batch=4, engine="ray", workers=2))
import ray
assert not ray.is_initialized()
"""


@needs_ray
@pytest.mark.slow
def test_a_killed_run_resumes_with_the_missing_shards(tmp_path: Path, environment: dict[str, str]):
    """Everything killed with -9; the next run starts a cluster of its own, leaves none, and does no shard again."""
    command, everything = [sys.executable, "-c", SCRIPT, str(tmp_path)], {**os.environ, **environment}
    child = subprocess.Popen(command, env=everything, start_new_session=True)
    shards = tmp_path / "out" / "parts" / "labels"
    deadline = time.monotonic() + 120
    while len(list(shards.glob("[0-9]*"))) < 6:
        assert child.poll() is None, "ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    time.sleep(1.0)  # workers end with the cluster that they belong to
    kept = {path.name: path.stat().st_mtime_ns for path in shards.glob("[0-9]*")}
    before = len((tmp_path / "notes").read_text().splitlines())
    assert len(kept) < 30
    again = subprocess.run(command, env=everything, timeout=120, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "INFO" not in again.stderr
    assert "usage stats" not in again.stderr.lower()
    assert {name: (shards / name).stat().st_mtime_ns for name in kept} == kept
    assert len((tmp_path / "notes").read_text().splitlines()) - before == 30 - len(kept)
    distiller = {"_target_": "helpers.made_distillers.Slow", "notes": str(tmp_path / "other")}
    run(tmp_path / "whole", Distill(distiller, corpus_of(tmp_path, records(120)), batch=4))
    assert (tmp_path / "out" / "labels.csv").read_bytes() == (tmp_path / "whole" / "labels.csv").read_bytes()


def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"halonerf\[ray\]"):
        run(tmp_path / "out", Distill(RULES, corpus_of(tmp_path, records(4)), engine="ray"))


@needs_ray
def test_a_missing_cluster_is_reported_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"  # nobody listens
        with pytest.raises(BadInput, match=r"distill\.address=null"), distill_ray.cluster(address, 1):
            pass
