"""Labels from a language model in this process through transformers: encoder-decoder, chat or plain decoder models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from jinja2 import TemplateError

from halonerf.config.option_types import Fraction, PositiveInt, Text
from halonerf.distillers.llm.answer_cache import Reply
from halonerf.distillers.llm.base import LanguageDistiller
from halonerf.distillers.llm.prompts import Messages, as_text
from halonerf.hub import PretrainedSource


class HfGenerate(LanguageDistiller):
    """A `LabelDistiller` around `generate` of transformers; see `LanguageDistiller` for the options of all models.

    An encoder-decoder model gets the prompt as one text. A decoder gets it in its chat template, or as one text where
    it has none. transformers cannot constrain decoding to a schema: with answers=json the prompt states the format and
    the answer is validated. With answers=plain or paper, the confidence is the geometric mean of the answer's token
    probabilities.

    Args:
        weights: hub id or local folder.
        beams: of beam search; 1: greedy. length_penalty, early_stopping: of beam search, as in transformers.
        tokens: maximum number of new tokens per answer.
        chat_options: for the model's chat template.
        batch: prompts at a time; bounds memory.
        dtype: "auto", as the weights are stored, or the name of a PyTorch type. device: None: a GPU where there is one.
    """

    runtime_options: ClassVar[tuple[str, ...]] = ("device",)
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
        beams: PositiveInt = 1,
        length_penalty: float = 1.0,
        early_stopping: bool = False,
        tokens: PositiveInt = 256,
        chat_options: Mapping[str, Any] | None = None,
        batch: PositiveInt = 16,
        dtype: Text = "auto",
        device: str | None = None,
        cache: str | None = None,
    ) -> None:
        """Raises: MissingArtifact, BadInput: the weights cannot be read (`PretrainedSource.model`)."""
        options: dict[str, Any] = {"num_beams": beams, "max_new_tokens": tokens, "do_sample": False}
        if beams > 1:
            options |= {"length_penalty": length_penalty, "early_stopping": early_stopping}
        self.chat_options = dict(chat_options or {})
        super().__init__(
            weights, {**options, "dtype": dtype, "chat": self.chat_options}, prompt, answers, labels, closed,
            vocabulary, same_as, ungrounded, min_confidence, characters, cache,
        )  # fmt: skip
        self.generate_options, self.batch = options, batch
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.network, self.tokenizer = _pretrained(weights, dtype)
        self.network.to(self.device)

    @torch.inference_mode()
    def query(self, prompts: Sequence[Messages]) -> Iterator[tuple[int, Reply]]:
        """Replies batch by batch; prompts are sorted by length, so that little is padded."""
        texts = [self._text(messages) for messages in prompts]
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        for start in range(0, len(order), self.batch):
            places = order[start : start + self.batch]
            yield from zip(places, self._generate([texts[place] for place in places]), strict=True)

    def _text(self, messages: Messages) -> str:
        if self.network.config.is_encoder_decoder or not self.tokenizer.chat_template:
            return as_text(messages)
        try:
            return self._templated(messages)
        except TemplateError:  # some templates reject system messages
            return self._templated(({"role": "user", "content": as_text(messages)},))

    def _templated(self, messages: Messages) -> str:
        return str(
            self.tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=True, **self.chat_options
            )
        )

    def _generate(self, texts: Sequence[str]) -> list[Reply]:
        encoder_decoder = bool(self.network.config.is_encoder_decoder)
        chat = not encoder_decoder and bool(self.tokenizer.chat_template)  # the template adds the special tokens
        inputs = self.tokenizer(list(texts), padding=True, return_tensors="pt", add_special_tokens=not chat)
        model_inputs = {name: inputs[name].to(self.device) for name in ("input_ids", "attention_mask")}
        scored = self.answers != "json"
        output = self.network.generate(
            **model_inputs,
            **self.generate_options,
            return_dict_in_generate=True,
            output_scores=scored,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        first = 1 if encoder_decoder else model_inputs["input_ids"].shape[1]
        tokens = output.sequences[:, first:]
        ends = _lengths(tokens, self.network.generation_config.eos_token_id)
        confidences = self._confidences(output, ends) if scored else [1.0] * len(texts)
        replies = []
        for row, length, prompt_tokens, confidence in zip(
            tokens, ends, model_inputs["attention_mask"].sum(1), confidences, strict=True
        ):
            text = self.tokenizer.decode(row[:length], skip_special_tokens=True).strip()
            replies.append(Reply(text, int(prompt_tokens), length, round(confidence, 6)))
        return replies

    def _confidences(self, output: Any, ends: Sequence[int]) -> list[float]:
        """Geometric mean of each answer's token probabilities, its end token included, in [0, 1]."""
        beams = getattr(output, "beam_indices", None)
        # beam scores are log-probabilities already
        scores = self.network.compute_transition_scores(
            output.sequences, output.scores, beams, normalize_logits=beams is None
        )
        scores = scores.float()
        return [
            float(row[:length].mean().exp().clamp(0.0, 1.0)) if length else 0.0
            for row, length in zip(scores, ends, strict=True)
        ]


def _lengths(tokens: torch.Tensor, end: int | Sequence[int] | None) -> list[int]:
    """Number of tokens of each row [B, T] up to and including its first end token."""
    ends = torch.as_tensor([] if end is None else end, device=tokens.device).reshape(-1)
    hit = torch.isin(tokens, ends)
    first = torch.where(hit.any(1), hit.float().argmax(1) + 1, tokens.shape[1])
    return [int(length) for length in first]


def _pretrained(weights: str, dtype: str) -> tuple[Any, Any]:
    """The model in evaluation mode with all its weights, and its tokenizer with the padding side that it needs."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

    source = PretrainedSource(
        weights, "a language model that generates text", weights, "distiller.weights", "distiller=rules"
    )
    encoder_decoder = source.part(AutoConfig).is_encoder_decoder
    network = source.model(AutoModelForSeq2SeqLM if encoder_decoder else AutoModelForCausalLM, dtype=dtype)
    tokenizer = source.part(AutoTokenizer, padding_side="right" if encoder_decoder else "left")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return network, tokenizer
