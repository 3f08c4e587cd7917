"""`vllm_engine` on a cluster: answers computed by Ray Data's own vLLM integration (`ray.data.llm`).

Ray Data runs and feeds the engines and restarts one that dies. It returns a text and token counts, but no finish
reason: an answer of the maximum length without an end token counts as cut off.

Run with Ray 2.60 and vLLM 0.32 on a CPU, with a tiny model; engines on GPUs have not been run.
"""

from __future__ import annotations

import importlib.util
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from halonerf.distillers.llm.answer_cache import AnswerCache, Reply
from halonerf.distillers.llm.bookkeeping import CLUSTER_ANSWERS
from halonerf.distillers.llm.prompts import Messages
from halonerf.distillers.llm.vllm_base import ShardReader, VllmDistiller, mean_token_probability
from halonerf.errors import MissingExtra
from halonerf.files import write_json

BATCH_PROMPTS = 64  # that Ray Data gives an engine at a time; it works on several such batches at once


def answer_with_ray(
    options: Mapping[str, Any], shards: Sequence[int], read: ShardReader, folder: Path, workers: int
) -> dict[str, Any]:
    """Answer every prompt of the shards that is not in the cache yet; config of the distiller that reads the answers.

    Ray must be running.

    Args:
        options: of a `VllmEngine`. shards: arguments of `read`. folder: as for `LanguageDistiller.open`.
        workers: number of engines; 0: as many as the cluster has GPUs for, or one on CPUs.

    Raises: MissingExtra where vLLM is not installed; what Ray raises where an engine does not start.
    """
    if importlib.util.find_spec("vllm") is None:
        raise MissingExtra("vllm", "vllm")
    import ray
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    reader = RecordedAnswers(options)
    gpus = int(ray.cluster_resources().get("GPU", 0))
    engines = workers or max(gpus // reader.gpus, 1)
    config = vLLMEngineProcessorConfig(
        model_source=str(reader.model),
        engine_kwargs=dict(reader.engine_options),
        concurrency=(engines, engines),
        batch_size=BATCH_PROMPTS,
        should_continue_on_error=True,  # a prompt that an engine refuses is one failure
        log_engine_metrics=False,
        chat_template_stage=False,  # prompts come as tokens, from `VllmDistiller.encode_prompts`
        tokenize_stage=False,
        detokenize_stage=False,
        placement_group_config=None if gpus else {"bundle_per_worker": {"CPU": 1}},
    )
    processor = build_processor(config, preprocess=_unchanged, postprocess=_answer_row)
    prompts = ray.data.from_items([{"shard": shard} for shard in shards], override_num_blocks=len(shards)).flat_map(
        PromptRows,
        fn_constructor_args=(dict(options), read, str(folder)),
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=max(engines, 1)),
        num_cpus=1,
    )
    cache, started = AnswerCache(reader.cache_folder(folder)), time.perf_counter()
    earlier = _earlier_answers(folder)
    counts: defaultdict[str, float] = defaultdict(float, earlier["counts"])
    try:
        for row in processor(prompts).iter_rows():
            reply = reader.reply(row)
            cache.put(row["key"], reply)
            if reply.failure:
                earlier["failed"][row["key"]] = asdict(reply)  # counted where it is read
            else:
                counts["queries"] += 1
                counts["tokens_in"] += reply.tokens_in
                counts["tokens_out"] += reply.tokens_out
                counts["cache_hits"] -= 1  # the reader will find it in the cache
    finally:
        cache.close()
        counts["query_seconds"] += engines * (time.perf_counter() - started)
        write_json(folder / CLUSTER_ANSWERS, {"counts": counts, "failed": earlier["failed"]})
    return {"_target_": "halonerf.distillers.llm.vllm_ray.RecordedAnswers", "options": dict(options)}


class RecordedAnswers(VllmDistiller):
    """A `VllmEngine` without an engine: it reads the answers that `answer_with_ray` recorded."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        """options: of the `VllmEngine` whose answers were recorded."""
        super().__init__(**options)
        self._shared_cache = options.get("cache")
        self._failed: dict[str, Reply] = {}

    def open(self, folder: Path, worker: str = "") -> None:
        """Open the trace and the cache in `folder` (`LanguageDistiller.open`) and read which answers failed."""
        super().open(folder, worker)
        self._failed = {key: Reply(**reply) for key, reply in _earlier_answers(folder)["failed"].items()}

    def query(self, prompts: Sequence[Messages]) -> Iterator[tuple[int, Reply]]:
        """The recorded failures; a prompt that is neither there nor in the cache was too long."""
        for place, key in enumerate(self.keys(prompts)):
            yield place, self._failed.get(key, Reply("", failure="too_long"))

    def cache_folder(self, folder: Path) -> Path:
        """Folder of the cache of a run in `folder`."""
        return Path(self._shared_cache).expanduser() if self._shared_cache else folder

    def reply(self, row: Mapping[str, Any]) -> Reply:
        """A row of Ray Data (`_answer_row`) as a reply."""
        if row.get("__inference_error__"):
            return Reply("", failure="engine_error")
        tokens, max_tokens = int(row["tokens_out"]), self.sampling_options["max_tokens"]
        cut = tokens >= max_tokens and not row["ended"]
        confidence = mean_token_probability(None if self.schema else row["log_probability"], tokens)
        return Reply(row["text"], int(row["tokens_in"]), tokens, confidence, "ended_by_length" if cut else "")


class PromptRows:
    """Rows of Ray Data for the prompts of a shard that fit the model and have no answer yet; runs in Ray's workers."""

    def __init__(self, options: Mapping[str, Any], read: ShardReader, folder: str) -> None:
        from transformers import AutoTokenizer

        self.reader, self.read = RecordedAnswers(options), read
        self.reader.tokenizer = AutoTokenizer.from_pretrained(self.reader.model)
        self.cache = AnswerCache(self.reader.cache_folder(Path(folder)))

    def __call__(self, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        _, prompts, keys = self.reader.make_prompts(self.read(int(row["shard"])))
        missing = dict(zip(keys, prompts, strict=True))
        for key in self.cache.get(missing):
            del missing[key]
        sampling = {name: value for name, value in self.reader.sampling_options.items() if value is not None}
        if self.reader.schema:  # as text: Ray Data would make columns of it
            sampling["structured_outputs"] = {"json": json.dumps(self.reader.schema)}
        end = self.reader.tokenizer.eos_token_id
        return [
            {"key": key, "tokenized_prompt": tokens, "sampling_params": sampling, "end": -1 if end is None else end}
            for key, tokens in zip(missing, self.reader.encode_prompts(list(missing.values())), strict=True)
            if len(tokens) <= self.reader.max_prompt_tokens
        ]


def _earlier_answers(folder: Path) -> dict[str, Any]:
    """Counts of earlier runs into `folder`, and the replies that failed."""
    path = folder / CLUSTER_ANSWERS
    return json.loads(path.read_text()) if path.is_file() else {"counts": {}, "failed": {}}


def _unchanged(row: dict[str, Any]) -> dict[str, Any]:
    return row


def _answer_row(row: dict[str, Any]) -> dict[str, Any]:
    """The fields kept of Ray Data's result for a prompt."""
    tokens = [int(token) for token in row["generated_tokens"]]
    log_probabilities = row.get("logprobs")
    steps = zip(tokens, log_probabilities, strict=True) if log_probabilities is not None else ()
    return {
        "key": row["key"],
        "text": row["generated_text"],
        "tokens_in": row["num_input_tokens"],
        "tokens_out": row["num_generated_tokens"],
        "ended": bool(tokens) and tokens[-1] == row["end"],
        "log_probability": float(sum(step[token]["logprob"] for token, step in steps)),
    }
