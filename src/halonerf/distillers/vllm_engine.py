"""Labels from a language model that vLLM runs in this process, held to the schema while it writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import exp
from pathlib import Path
from typing import Any, ClassVar

from jinja2 import TemplateError

from halonerf.distillers.llm.answer_cache import Reply
from halonerf.distillers.llm.base import LanguageDistiller
from halonerf.distillers.llm.prompts import Messages, as_text
from halonerf.errors import BadInput, MissingArtifact, MissingExtra
from halonerf.types import ImageRecord

Reader = Callable[[int], list[ImageRecord]]  # the records of a shard


class VllmEngine(LanguageDistiller):
    """A `LabelDistiller` around vLLM's offline `LLM`; the other options are those of `LanguageDistiller`."""

    data_options: ClassVar[tuple[str, ...]] = ("weights",)

    def __init__(
        self,
        weights: str = "Qwen/Qwen3-4B-Instruct-2507",
        prompt: str = "structured",
        answers: str = "json",
        labels: int = 3,
        closed: bool = False,
        vocabulary: str | None = None,
        same_as: str | None = None,
        ungrounded: float = 0.5,
        least: float = 0.2,
        characters: int = 1000,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        tokens: int = 1024,
        chat_options: Mapping[str, Any] | None = None,
        context: int = 4096,
        dtype: str = "auto",
        gpus: int = 1,
        memory: float = 0.9,
        eager: bool = False,
        cache: str | None = None,
    ) -> None:
        """Raises: MissingExtra without vLLM; MissingArtifact, BadInput: the weights are not there, or do not run."""
        if tokens < 1 or context <= tokens or gpus < 1:
            raise BadInput(
                f"expected tokens of at least 1, a context that is longer, and at least 1 GPU, got tokens={tokens}, "
                f"context={context}, gpus={gpus}."
            )
        self.chat_options, self.room = dict(chat_options or {}), context - tokens
        sampling = {"temperature": temperature, "top_p": top_p, "seed": seed, "max_tokens": tokens}
        super().__init__(
            weights, {**sampling, "dtype": dtype, "chat": self.chat_options}, prompt, answers, labels, closed,
            vocabulary, same_as, ungrounded, least, characters, cache,
        )  # fmt: skip
        self.engine_options = {
            "dtype": dtype,
            "max_model_len": context,
            "tensor_parallel_size": gpus,
            "gpu_memory_utilization": memory,
            "enforce_eager": eager,
            "seed": seed,
            # without it a model may write blanks between the parts of its answer for ever
            "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
        }
        # probabilities tell nothing of an answer that the schema dictated in part
        self.asked_for: dict[str, Any] = {**sampling, "logprobs": None if self.schema else 0}
        self.gpus = gpus
        self._start(weights)

    @staticmethod
    def ask_with_ray(
        options: Mapping[str, Any], shards: Sequence[int], read: Reader, folder: Path, workers: int
    ) -> dict[str, Any]:
        """Ask for all shards' answers through Ray Data; see `halonerf.distillers.llm.vllm_ray.ask_with_ray`."""
        from halonerf.distillers.llm.vllm_ray import ask_with_ray

        return ask_with_ray(options, shards, read, folder, workers)

    def _start(self, weights: str) -> None:
        """Load the model. A child whose model runs elsewhere has nothing to load."""
        try:
            from vllm import LLM, SamplingParams
            from vllm.sampling_params import StructuredOutputsParams
        except ImportError as error:
            raise MissingExtra("vllm", "vllm") from error
        try:
            self.engine = LLM(model=weights, **self.engine_options)
        except OSError as error:
            raise MissingArtifact(
                f"expected a language model in '{weights}' (a hub id or a local folder), but could not get it: "
                f"{_first_line(error)}\n"
                f"Download it where there is a network with: hf download {weights} --local-dir DIR\n"
                "and use it with: distiller.weights=DIR"
            ) from error
        except (ValueError, RuntimeError) as error:
            raise BadInput(
                f"expected vLLM to run '{weights}', but: {_first_line(error)}\nSee the lines above. Less memory is "
                "used with: distiller.context=2048 distiller.memory=0.6 distiller.dtype=bfloat16"
            ) from error
        held = StructuredOutputsParams(json=self.schema) if self.schema else None
        self.parameters = SamplingParams(**self.asked_for, structured_outputs=held)
        self.tokenizer = self.engine.get_tokenizer()

    def ask(self, prompts: Sequence[Messages]) -> Iterator[tuple[int, Reply]]:
        """All at once: vLLM forms its batches itself. What leaves no room for an answer is not asked."""
        encoded = self.encoded(prompts)
        fitting = [place for place, tokens in enumerate(encoded) if len(tokens) <= self.room]
        yield from ((place, Reply("", failure="too_long")) for place in set(range(len(prompts))) - set(fitting))
        asked: list[Any] = [{"prompt_token_ids": encoded[place]} for place in fitting]
        outputs = self.engine.generate(asked, self.parameters, use_tqdm=False) if asked else []
        for place, output in zip(fitting, outputs, strict=True):
            said = output.outputs[0]
            yield (
                place,
                Reply(
                    said.text,
                    len(output.prompt_token_ids or ()),
                    len(said.token_ids),
                    probability(said.cumulative_logprob, len(said.token_ids)),
                    "" if said.finish_reason == "stop" else f"ended_by_{said.finish_reason}",
                ),
            )

    def encoded(self, prompts: Sequence[Messages]) -> list[list[int]]:
        """The tokens of each prompt, in the model's own template if it has one."""
        chat = bool(self.tokenizer.chat_template)  # which writes the special tokens itself
        return [list(self.tokenizer.encode(self._text(messages), add_special_tokens=not chat)) for messages in prompts]

    def _text(self, messages: Messages) -> str:
        """The messages in the model's template, as one of the user's where it refuses a system's, or as plain text."""
        if not self.tokenizer.chat_template:
            return as_text(messages)
        options = {"tokenize": False, "add_generation_prompt": True, **self.chat_options}
        try:
            return str(self.tokenizer.apply_chat_template([*messages], **options))
        except TemplateError:
            return str(self.tokenizer.apply_chat_template([{"role": "user", "content": as_text(messages)}], **options))


def probability(logarithms: float | None, tokens: int) -> float:
    """Geometric mean of the probabilities of so many tokens; 1 where the engine was not asked for them."""
    if logarithms is None or not tokens:
        return 1.0
    return round(min(exp(logarithms / tokens), 1.0), 6)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
