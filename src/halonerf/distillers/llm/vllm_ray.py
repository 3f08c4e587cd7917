"""`vllm_engine` over a cluster: the answers are asked for by Ray Data's own vLLM integration (`ray.data.llm`).

Ray Data keeps the engines, feeds them, and starts one again that dies. It gives a text and numbers of tokens, but not
why an answer ended: one that is as long as is allowed, and has no end, is taken for cut off.

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
from halonerf.distillers.llm.bookkeeping import ASKED
from halonerf.distillers.llm.prompts import Messages
from halonerf.distillers.vllm_engine import Reader, VllmEngine, probability
from halonerf.errors import MissingExtra
from halonerf.files import write_json

BATCH = 64  # prompts that Ray Data gives an engine at a time; it works on several such batches at once


def ask_with_ray(
    options: Mapping[str, Any], shards: Sequence[int], read: Reader, folder: Path, workers: int
) -> dict[str, Any]:
    """Ask every prompt of the shards that is not in the cache yet, and give the config of whoever reads the answers.

    Needs Ray to have been started.

    Args:
        options: of a `VllmEngine`. shards: what `read` gives the records of. folder: as for `open`.
        workers: engines; 0: as many as the cluster has GPUs for, or one on CPUs.

    Raises: MissingExtra where vLLM is not installed here; what Ray raises where an engine does not start.
    """
    if importlib.util.find_spec("vllm") is None:
        raise MissingExtra("vllm", "vllm")
    import ray
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    reader = Answered(options)
    found = int(ray.cluster_resources().get("GPU", 0))
    engines = workers or max(found // reader.gpus, 1)
    config = vLLMEngineProcessorConfig(
        model_source=str(reader.model),
        engine_kwargs=dict(reader.engine_options),
        concurrency=(engines, engines),
        batch_size=BATCH,
        should_continue_on_error=True,  # one prompt that an engine refuses is one failure
        log_engine_metrics=False,
        chat_template_stage=False,  # the prompts come as tokens, made as `VllmEngine` makes them
        tokenize_stage=False,
        detokenize_stage=False,
        placement_group_config=None if found else {"bundle_per_worker": {"CPU": 1}},
    )
    processor = build_processor(config, preprocess=_as_it_is, postprocess=_answer)
    prompts = ray.data.from_items([{"shard": shard} for shard in shards], override_num_blocks=len(shards)).flat_map(
        Prompts,
        fn_constructor_args=(dict(options), read, str(folder)),
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=max(engines, 1)),
        num_cpus=1,
    )
    cache, started = AnswerCache(reader.kept_in(folder)), time.perf_counter()
    asked = _asked(folder)
    counts: defaultdict[str, float] = defaultdict(float, asked["counts"])
    try:
        for row in processor(prompts).iter_rows():
            reply = reader.reply(row)
            cache.put(row["key"], reply)
            if reply.failure:
                asked["failed"][row["key"]] = asdict(reply)  # counted by the one who reads it
            else:
                counts["asked"] += 1
                counts["tokens_in"] += reply.tokens_in
                counts["tokens_out"] += reply.tokens_out
                counts["cache_hits"] -= 1  # whoever reads it finds it in the cache
    finally:
        cache.close()
        counts["ask_seconds"] += engines * (time.perf_counter() - started)
        write_json(folder / ASKED, {"counts": counts, "failed": asked["failed"]})
    return {"_target_": "halonerf.distillers.llm.vllm_ray.Answered", "options": dict(options)}


class Answered(VllmEngine):
    """A `VllmEngine` that has no engine: it finds all its answers given."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        """options: of the `VllmEngine` that was asked."""
        super().__init__(**options)
        self.cached_in = options.get("cache")
        self._failed: dict[str, Reply] = {}

    def open(self, folder: Path, worker: str = "") -> None:
        """As every language model does; and learn which answers failed."""
        super().open(folder, worker)
        self._failed = {key: Reply(**reply) for key, reply in _asked(folder)["failed"].items()}

    def ask(self, prompts: Sequence[Messages]) -> Iterator[tuple[int, Reply]]:
        """What failed; a prompt that is neither there nor in the cache left no room for an answer."""
        for place, key in enumerate(self.keys(prompts)):
            yield place, self._failed.get(key, Reply("", failure="too_long"))

    def kept_in(self, folder: Path) -> Path:
        """Where the cache of a run in `folder` is."""
        return Path(self.cached_in).expanduser() if self.cached_in else folder

    def reply(self, row: Mapping[str, Any]) -> Reply:
        """A row of Ray Data as a reply."""
        if row.get("__inference_error__"):
            return Reply("", failure="engine_error")
        tokens, most = int(row["tokens_out"]), self.asked_for["max_tokens"]
        cut = tokens >= most and not row["ended"]
        likely = None if self.schema else row["logarithms"]
        return Reply(
            row["text"], int(row["tokens_in"]), tokens, probability(likely, tokens), "ended_by_length" if cut else ""
        )

    def _start(self, weights: str) -> None:
        pass


class Prompts:
    """Makes the prompts of shards, in one of Ray's workers: those that fit the model and were not answered before."""

    def __init__(self, options: Mapping[str, Any], read: Reader, folder: str) -> None:
        from transformers import AutoTokenizer

        self.reader, self.read = Answered(options), read
        self.reader.tokenizer = AutoTokenizer.from_pretrained(self.reader.model)
        self.cache = AnswerCache(self.reader.kept_in(Path(folder)))

    def __call__(self, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        _, prompts, keys = self.reader.prompted(self.read(int(row["shard"])))
        missing = dict(zip(keys, prompts, strict=True))
        for key in self.cache.get(missing):
            del missing[key]
        asked_for = {name: value for name, value in self.reader.asked_for.items() if value is not None}
        if self.reader.schema:  # as text: Ray Data would make columns of it
            asked_for["structured_outputs"] = {"json": json.dumps(self.reader.schema)}
        end = self.reader.tokenizer.eos_token_id
        return [
            {"key": key, "tokenized_prompt": tokens, "sampling_params": asked_for, "end": -1 if end is None else end}
            for key, tokens in zip(missing, self.reader.encoded(list(missing.values())), strict=True)
            if len(tokens) <= self.reader.room
        ]


def _asked(folder: Path) -> dict[str, Any]:
    """What earlier runs into `folder` counted, and the replies that failed."""
    path = folder / ASKED
    return json.loads(path.read_text()) if path.is_file() else {"counts": {}, "failed": {}}


def _as_it_is(row: dict[str, Any]) -> dict[str, Any]:
    return row


def _answer(row: dict[str, Any]) -> dict[str, Any]:
    """What is kept of what Ray Data gives for a prompt."""
    tokens = [int(token) for token in row["generated_tokens"]]
    told = row.get("logprobs")
    steps = zip(tokens, told, strict=True) if told is not None else ()
    return {
        "key": row["key"],
        "text": row["generated_text"],
        "tokens_in": row["num_input_tokens"],
        "tokens_out": row["num_generated_tokens"],
        "ended": bool(tokens) and tokens[-1] == row["end"],
        "logarithms": float(sum(step[token]["logprob"] for token, step in steps)),
    }
