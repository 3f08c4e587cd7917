"""What a vLLM distiller is without its engine: options, prompts as tokens, sampling parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import exp
from typing import Any, ClassVar, Literal

from jinja2 import TemplateError

from halonerf.config.option_types import Fraction, NonNegativeFloat, PositiveFraction, PositiveInt, Seed, Text
from halonerf.distillers.llm.base import LanguageDistiller
from halonerf.distillers.llm.prompts import Messages, as_text
from halonerf.errors import BadInput
from halonerf.types import ImageRecord

ShardReader = Callable[[int], list[ImageRecord]]  # number of a shard to its records


class VllmDistiller(LanguageDistiller):
    """Options, prompts and sampling that are the same wherever vLLM runs; subclasses get the answers (`query`).

    Args:
        weights: hub id or local folder.
        temperature, top_p, seed: of sampling; temperature 0 is greedy.
        tokens: maximum number of new tokens per answer. context: tokens of prompt and answer.
        chat_options: for the model's chat template.
        dtype: as vLLM names it. gpus: over which the model is split.
        memory: in (0, 1], share of a GPU's memory that vLLM may take. eager: without CUDA graphs.

    Attributes:
        engine_options: arguments of vLLM's engine. sampling_options: arguments of its `SamplingParams`.
        max_prompt_tokens: longest prompt that leaves room for an answer.
        tokenizer: the model's; set by subclasses before `encode_prompts`.
    """

    tokenizer: Any

    data_options: ClassVar[tuple[str, ...]] = ("weights",)

    def __init__(
        self,
        weights: Text = "Qwen/Qwen3-4B-Instruct-2507",
        prompt: Text = "structured",
        answers: Literal["json", "plain", "paper"] = "json",
        labels: PositiveInt = 3,
        closed: bool = False,
        vocabulary: str | None = None,
        same_as: str | None = None,
        ungrounded: Fraction = 0.5,
        min_confidence: Fraction = 0.2,
        characters: PositiveInt = 1000,
        temperature: NonNegativeFloat = 0.0,
        top_p: PositiveFraction = 1.0,
        seed: Seed = 0,
        tokens: PositiveInt = 1024,
        chat_options: Mapping[str, Any] | None = None,
        context: PositiveInt = 4096,
        dtype: Text = "auto",
        gpus: PositiveInt = 1,
        memory: PositiveFraction = 0.9,
        eager: bool = False,
        cache: str | None = None,
    ) -> None:
        """Raises: BadInput where a context leaves no room for a prompt, and what `start` raises."""
        if context <= tokens:
            raise BadInput(f"expected a context that is longer than tokens, got context={context}, tokens={tokens}.")
        self.chat_options, self.max_prompt_tokens = dict(chat_options or {}), context - tokens
        sampling = {"temperature": temperature, "top_p": top_p, "seed": seed, "max_tokens": tokens}
        super().__init__(
            weights, {**sampling, "dtype": dtype, "chat": self.chat_options}, prompt, answers, labels, closed,
            vocabulary, same_as, ungrounded, min_confidence, characters, cache,
        )  # fmt: skip
        self.engine_options = {
            "dtype": dtype,
            "max_model_len": context,
            "tensor_parallel_size": gpus,
            "gpu_memory_utilization": memory,
            "enforce_eager": eager,
            "seed": seed,
            # without it a model may emit whitespace between the parts of its answer without end
            "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
        }
        # token probabilities carry no information where the schema dictates part of the answer
        self.sampling_options: dict[str, Any] = {**sampling, "logprobs": None if self.schema else 0}
        self.gpus = gpus
        self.start()

    def start(self) -> None:
        """Load what `query` needs, at the end of construction; nothing here."""

    def encode_prompts(self, prompts: Sequence[Messages]) -> list[list[int]]:
        """Tokens of each prompt, in the model's chat template if it has one."""
        chat = bool(self.tokenizer.chat_template)  # which adds the special tokens itself
        return [list(self.tokenizer.encode(self._text(messages), add_special_tokens=not chat)) for messages in prompts]

    def _text(self, messages: Messages) -> str:
        """The messages in the chat template, as a single user message if it rejects system messages, or plain text."""
        if not self.tokenizer.chat_template:
            return as_text(messages)
        options = {"tokenize": False, "add_generation_prompt": True, **self.chat_options}
        try:
            return str(self.tokenizer.apply_chat_template([*messages], **options))
        except TemplateError:
            return str(self.tokenizer.apply_chat_template([{"role": "user", "content": as_text(messages)}], **options))


def mean_token_probability(log_probability: float | None, tokens: int) -> float:
    """Geometric mean of token probabilities, in [0, 1].

    Args:
        log_probability: sum over the tokens; None, where the engine did not return any, gives 1.
    """
    if log_probability is None or not tokens:
        return 1.0
    return round(min(exp(log_probability / tokens), 1.0), 6)
