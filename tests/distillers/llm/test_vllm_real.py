"""A real vLLM with a tiny random model: every answer keeps to the schema, in this process and through a server.

`make test-vllm` makes an environment with vLLM for the CPU and runs this.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.made_records import made_records
from helpers.tiny_language import write_llama

pytestmark = pytest.mark.vllm
pytest.importorskip("vllm", reason="needs vLLM: make test-vllm")

RECORDS = 500
CONTEXT = 8192
LONGEST = 300  # characters a field: letters are tokens to the tiny model
TOKENS = 700  # one claim: 40 letters, 120 characters of at most 4 bytes, and what stands between
ENVIRONMENT = {
    **os.environ, "HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1",
    "VLLM_TARGET_DEVICE": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "records.jsonl"
    rows = (
        {
            "image_id": record.image_id,
            "landmark": record.landmark,
            "filename": record.filename,
            "caption": record.caption,
            "categories": list(record.categories),
        }
        for record in made_records(RECORDS)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def server(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log.txt"
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(weights),
        "--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32",
        "--enforce-eager", "--max-model-len", str(CONTEXT),
        "--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}',
    ]  # fmt: skip
    with open(log, "w") as stream:
        process = subprocess.Popen(command, env=ENVIRONMENT, stdout=stream, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}/v1"
    try:
        deadline = time.monotonic() + 400
        while not _answers(url):
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(1)
        yield url
    finally:
        process.terminate()
        process.wait(60)


def test_in_this_process(weights: Path, corpus: Path, tmp_path: Path):
    figures = distilled(
        corpus, tmp_path, "vllm_engine", f"distiller.weights={weights}", f"distiller.context={CONTEXT}",
        "distiller.dtype=float32", "distiller.eager=true", "distiller.memory=0.3",
    )  # fmt: skip
    assert figures["queries"] + figures["cache_hits"] >= RECORDS


def test_through_a_server(server: str, corpus: Path, tmp_path: Path):
    figures = distilled(
        corpus, tmp_path, "openai_server", "distiller.model=tiny", f"distiller.url={server}",
        "distiller.structured=json_schema", "distiller.timeout_s=600",
    )  # fmt: skip
    assert figures["requests"] >= figures["queries"]


def distilled(corpus: Path, folder: Path, distiller: str, *overrides: str) -> dict[str, Any]:
    """Run the stage as people do; check every answer; its figures."""
    columns = "{image_id:image_id,landmark:landmark,filename:filename,caption:caption,categories:categories}"
    command = [
        sys.executable, "-m", "halonerf.cli", "stage=distill", "corpus=table", f"corpus.path={corpus}",
        f"corpus.columns={columns}", f"distiller={distiller}", "distiller.labels=1", f"distiller.tokens={TOKENS}",
        f"distiller.characters={LONGEST}", *overrides,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    (manifest,) = folder.glob("artifacts/*/distill/*/manifest.json")
    lines = [json.loads(line) for line in (manifest.parent / "responses.jsonl").read_text().splitlines()]
    assert [line["image_id"] for line in lines] == [record.image_id for record in made_records(RECORDS)]
    wrong = [line for line in lines if line["failure"] or not keeps_to_the_schema(line["answer"])]
    figures = json.loads(manifest.read_text())["summary"]
    print(f"{distiller}: {len(lines) - len(wrong)}/{len(lines)} answers keep to the schema; {figures}")
    assert not wrong, wrong[:2]
    return figures


def keeps_to_the_schema(answer: str) -> bool:
    """Checked by hand, so that it does not lean on what is under test."""
    data = json.loads(answer)
    if (
        set(data) != {"labels", "language"}
        or not re.fullmatch("[a-z]{2,3}", data["language"])
        or len(data["labels"]) > 1
    ):
        return False
    return all(
        set(claim) == {"label", "confidence", "evidence"}
        and re.fullmatch("[a-z][a-z -]{1,38}", claim["label"])
        and claim["confidence"] in [tenth / 10 for tenth in range(11)]
        and len(claim["evidence"]) <= 120
        for claim in data["labels"]
    )


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/models", timeout=5) as response:
            return response.status == 200
    except OSError:
        return False
