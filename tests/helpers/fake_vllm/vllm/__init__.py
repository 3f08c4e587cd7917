"""Stands in for vLLM 0.32 where it is not installed: the names that the project and Ray 2.60 use of it, and no more.

It says "portal" of every record, but cuts off every seventh answer, and refuses a record that says "refused".
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any

from vllm import inputs, outputs, sampling_params
from vllm.outputs import CompletionOutput, RequestOutput
from vllm.sampling_params import SamplingParams

__all__ = ["LLM", "AsyncEngineArgs", "AsyncLLMEngine", "SamplingParams", "inputs", "outputs", "sampling_params"]
SAID = '{"labels": [{"label": "portal", "confidence": 0.8, "evidence": "portal"}], "language": "en"}'
ENGINE = {
    "model", "dtype", "max_model_len", "tensor_parallel_size", "gpu_memory_utilization", "enforce_eager", "seed",
    "structured_outputs_config",
}  # fmt: skip
ASYNC = ENGINE | {"runner", "distributed_executor_backend", "enable_log_requests"}


class LLM:
    def __init__(self, **options: Any) -> None:
        assert set(options) == ENGINE
        self.weights = options["model"]

    def get_tokenizer(self) -> Any:
        return tokenizer(self.weights)

    def generate(self, prompts: Sequence[Any], params: SamplingParams, use_tqdm: bool) -> list[RequestOutput]:
        return [answer(self.weights, prompt["prompt_token_ids"], params) for prompt in prompts]


class AsyncEngineArgs:
    def __init__(self, **options: Any) -> None:
        assert set(options) == ASYNC, set(options) ^ ASYNC
        self.options = options

    def create_engine_config(self) -> Any:
        return SimpleNamespace(
            scheduler_config=SimpleNamespace(max_num_seqs=4), parallel_config=SimpleNamespace(pipeline_parallel_size=1)
        )


class AsyncLLMEngine:
    @classmethod
    def from_engine_args(cls, arguments: AsyncEngineArgs, stat_loggers: Any) -> AsyncLLMEngine:
        assert stat_loggers is None
        engine = cls()
        engine.weights = arguments.options["model"]
        return engine

    async def generate(
        self, request_id: str, prompt: Any, sampling_params: SamplingParams, lora_request: Any
    ) -> AsyncIterator[RequestOutput]:
        given = answer(self.weights, prompt["prompt_token_ids"], sampling_params)
        if given.outputs[0].finish_reason == "abort":
            raise ValueError("refused")
        yield given

    async def do_log_stats(self) -> None:
        pass

    def shutdown(self) -> None:
        pass


def answer(weights: str, prompt: Sequence[int], params: SamplingParams) -> RequestOutput:
    """What is said of a record; `params` are checked to be what the schema needs."""
    words = tokenizer(weights)
    shown = words.decode(prompt)
    held = params.structured_outputs.json
    assert "labels" in (json.loads(held) if isinstance(held, str) else held)["properties"]
    assert params.logprobs is None
    if "refused" in shown:
        return RequestOutput([], [CompletionOutput("", [], None, "abort")])
    if int(re.findall(r"part (\d+)", shown)[-1]) % 7 == 0:
        said = words.encode(SAID * params.max_tokens, add_special_tokens=False)[: params.max_tokens]
        return RequestOutput(prompt, [CompletionOutput(words.decode(said[:9]), said, None, "length")])
    said = [*words.encode(SAID, add_special_tokens=False), words.eos_token_id]
    return RequestOutput(prompt, [CompletionOutput(SAID, said, None, "stop")])


@cache
def tokenizer(weights: str) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(weights)
