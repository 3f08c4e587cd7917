"""Labels from a language model that runs here through transformers: encoder-decoder models, chat models, plain ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from jinja2 import TemplateError

from halonerf.distillers.llm.answer_cache import Reply
from halonerf.distillers.llm.base import LanguageDistiller
from halonerf.distillers.llm.prompts import Messages, as_text
from halonerf.errors import BadInput, MissingArtifact


class HfGenerate(LanguageDistiller):
    """A `LabelDistiller` around `generate` of transformers; the other options are those of `LanguageDistiller`.

    An encoder-decoder model gets the prompt as one text. A decoder gets it in its own chat template, or as one text
    where it has none. transformers cannot hold a model to a schema: with answers=json the prompt asks for it and the
    answer is checked. With answers=plain or paper, the confidence is the geometric mean of the answer's token
    probabilities.
    """

    runtime_options: ClassVar[tuple[str, ...]] = ("device",)
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
        beams: int = 1,
        length_penalty: float = 1.0,
        early_stopping: bool = False,
        tokens: int = 256,
        chat_options: Mapping[str, Any] | None = None,
        batch: int = 16,
        dtype: str = "auto",
        device: str | None = None,
        cache: str | None = None,
    ) -> None:
        """Raises: MissingArtifact, BadInput: the weights are not there, or are no model that generates text."""
        if beams < 1 or tokens < 1 or batch < 1:
            raise BadInput(f"expected beams, tokens and batch of at least 1, got {beams}, {tokens} and {batch}.")
        options: dict[str, Any] = {"num_beams": beams, "max_new_tokens": tokens, "do_sample": False}
        if beams > 1:
            options |= {"length_penalty": length_penalty, "early_stopping": early_stopping}
        self.chat_options = dict(chat_options or {})
        super().__init__(
            weights, {**options, "dtype": dtype, "chat": self.chat_options}, prompt, answers, labels, closed,
            vocabulary, same_as, ungrounded, least, characters, cache,
        )  # fmt: skip
        self.options, self.batch = options, batch
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.network, self.tokenizer = _pretrained(weights, dtype)
        self.network.to(self.device)

    @torch.inference_mode()
    def ask(self, prompts: Sequence[Messages]) -> Iterator[tuple[int, Reply]]:
        """Batches of prompts of like length, so that little is padded."""
        texts = [self._text(messages) for messages in prompts]
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        for start in range(0, len(order), self.batch):
            places = order[start : start + self.batch]
            yield from zip(places, self._generated([texts[place] for place in places]), strict=True)

    def _text(self, messages: Messages) -> str:
        if self.network.config.is_encoder_decoder or not self.tokenizer.chat_template:
            return as_text(messages)
        try:
            return self._templated(messages)
        except TemplateError:  # some templates refuse a system's message
            return self._templated(({"role": "user", "content": as_text(messages)},))

    def _templated(self, messages: Messages) -> str:
        return str(
            self.tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=True, **self.chat_options
            )
        )

    def _generated(self, texts: Sequence[str]) -> list[Reply]:
        whole = bool(self.network.config.is_encoder_decoder)
        chat = not whole and bool(self.tokenizer.chat_template)  # the template wrote the special tokens
        inputs = self.tokenizer(list(texts), padding=True, return_tensors="pt", add_special_tokens=not chat)
        shown = {name: inputs[name].to(self.device) for name in ("input_ids", "attention_mask")}
        weighed = self.answers != "json"
        made = self.network.generate(
            **shown,
            **self.options,
            return_dict_in_generate=True,
            output_scores=weighed,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        first = 1 if whole else shown["input_ids"].shape[1]
        tokens = made.sequences[:, first:]
        ends = _lengths(tokens, self.network.generation_config.eos_token_id)
        confidences = self._confidences(made, ends) if weighed else [1.0] * len(texts)
        replies = []
        for row, length, seen, confidence in zip(
            tokens, ends, shown["attention_mask"].sum(1), confidences, strict=True
        ):
            text = self.tokenizer.decode(row[:length], skip_special_tokens=True).strip()
            replies.append(Reply(text, int(seen), length, round(confidence, 6)))
        return replies

    def _confidences(self, made: Any, ends: Sequence[int]) -> list[float]:
        """Geometric mean of the probabilities of each answer's tokens, its end included, in (0, 1]."""
        beams = getattr(made, "beam_indices", None)
        # the scores of beams are log-probabilities already
        scores = self.network.compute_transition_scores(
            made.sequences, made.scores, beams, normalize_logits=beams is None
        )
        scores = scores.float()
        return [
            float(row[:length].mean().exp().clamp(0.0, 1.0)) if length else 0.0
            for row, length in zip(scores, ends, strict=True)
        ]


def _lengths(tokens: torch.Tensor, end: int | Sequence[int] | None) -> list[int]:
    """Tokens of each row [B, T] up to its first end, that one included."""
    ends = torch.as_tensor([] if end is None else end, device=tokens.device).reshape(-1)
    hit = torch.isin(tokens, ends)
    first = torch.where(hit.any(1), hit.float().argmax(1) + 1, tokens.shape[1])
    return [int(length) for length in first]


def _pretrained(weights: str, dtype: str) -> tuple[Any, Any]:
    """The model in evaluation mode with all its weights, and its tokenizer, padding where it should."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

    get = f"hf download {weights} --local-dir DIR"
    try:
        config = AutoConfig.from_pretrained(weights)
        kind: Any = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        side = "right" if config.is_encoder_decoder else "left"
        network, loading = kind.from_pretrained(weights, dtype=dtype, output_loading_info=True)
        tokenizer = AutoTokenizer.from_pretrained(weights, padding_side=side)
    except OSError as error:
        raise MissingArtifact(
            f"expected a language model in '{weights}' (a hub id or a local folder), but could not get it: "
            f"{_first_line(error)}\nDownload it where there is a network with: {get}\n"
            f"and use it with: distiller.weights=DIR. Without any model: distiller=rules"
        ) from error
    except (ValueError, RuntimeError, KeyError, AttributeError, TypeError) as error:  # whatever a foreign config causes
        raise BadInput(
            f"expected a model that generates text in '{weights}', but its files describe something else: "
            f"{_first_line(error)}\nChoose another with: distiller.weights=NAME"
        ) from error
    missing = sorted(loading["missing_keys"]) + sorted(str(key) for key in loading.get("mismatched_keys", ()))
    if missing:
        raise BadInput(
            f"expected all weights in '{weights}', but {len(missing)} are missing or of another shape, the first: "
            f"{missing[0]}.\nDownload whole ones with: {get}"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return network.eval(), tokenizer


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
