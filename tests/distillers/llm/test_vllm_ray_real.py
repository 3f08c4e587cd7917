"""A real vLLM, asked through Ray Data: the same answers as in this process. Runs where both are installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers.made_records import made_records
from helpers.tiny_language import write_llama

pytestmark = [pytest.mark.vllm, pytest.mark.slow]
pytest.importorskip("vllm", reason="needs vLLM: make test-vllm")
pytest.importorskip("ray", reason="needs Ray beside vLLM: pip install 'halonerf[ray]'")

RECORDS = 40
ENVIRONMENT = {
    **os.environ, "HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1",
    "VLLM_TARGET_DEVICE": "cpu", "RAY_worker_niceness": "0",
}  # fmt: skip


@pytest.mark.parametrize("answers", ["json", "plain"])
def test_the_same_labels_as_in_this_process(tmp_path: Path, answers: str):
    weights = write_llama(tmp_path / "llama")
    rows = [{"id": record.image_id, "text": record.caption} for record in made_records(RECORDS)]
    (tmp_path / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    one, two = (distilled(tmp_path, weights, answers, engine) for engine in ("local", "ray"))
    timed = ("query_seconds", "answers_per_s", "tokens_per_s", "records_per_s", "labels")
    figures = [{k: v for k, v in manifest["summary"].items() if k not in timed} for _, manifest in (one, two)]
    assert figures[0] == figures[1]
    assert (one[0] / "labels.csv").read_bytes() == (two[0] / "labels.csv").read_bytes()


def distilled(folder: Path, weights: Path, answers: str, engine: str) -> tuple[Path, dict[str, Any]]:
    """Run the stage as people do; its folder and its manifest."""
    command = [
        sys.executable, "-m", "halonerf.cli", "stage=distill", "corpus=table",
        f"corpus.path={folder / 'records.jsonl'}",
        "corpus.columns={image_id:id,caption:text}", "distill.batch=8", f"distill.engine={engine}", "distill.workers=1",
        "distiller=vllm_engine", f"distiller.weights={weights}", f"distiller.answers={answers}", "distiller.labels=1",
        f"distiller.prompt={'structured' if answers == 'json' else 'short'}", "distiller.characters=300",
        f"distiller.tokens={700 if answers == 'json' else 12}", "distiller.context=8192", "distiller.dtype=float32",
        "distiller.eager=true", "distiller.memory=0.3", f"artifacts={folder / engine}",
    ]  # fmt: skip
    run = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr[-3000:]
    (manifest,) = (folder / engine).glob("*/distill/*/manifest.json")
    return manifest.parent, json.loads(manifest.read_text())
