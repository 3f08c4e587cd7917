"""Tiny language models in the hub's layout, made on the spot: a T5, and a Llama with a chat template."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
ROLES = ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
TEXT = (
    '{"labels": [{"label": "portal", "confidence": 0.9, "evidence": "Westportal"}], "language": "de"}',
    "Filename: West_portal.jpg Caption: The west portal Categories: Exterior of a minster",
)


def write_t5(
    folder: Path, pairs: Sequence[tuple[str, str]] = (), steps: int = 0, vocabulary: Sequence[str] = TEXT
) -> Path:
    """Write a T5 whose words are those of `vocabulary` and `pairs`, and teach it the answers to `pairs` by heart."""
    torch.manual_seed(0)
    tokenizer = _words([*vocabulary, *(text for pair in pairs for text in pair)])
    model = T5ForConditionalGeneration(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=48,
            d_kv=16,
            d_ff=96,
            num_layers=2,
            num_heads=3,
            dropout_rate=0.0,
            pad_token_id=0,
            eos_token_id=1,
            decoder_start_token_id=0,
        )
    )
    if steps:
        asked = tokenizer([question for question, _ in pairs], padding=True, return_tensors="pt")
        wanted = tokenizer([answer for _, answer in pairs], padding=True, return_tensors="pt").input_ids
        wanted[wanted == tokenizer.pad_token_id] = -100
        optimiser = torch.optim.Adam(model.parameters(), 3e-3)
        for _ in range(steps):
            loss = model(input_ids=asked.input_ids, attention_mask=asked.attention_mask, labels=wanted).loss
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return _write(folder, model, tokenizer)


def write_llama(folder: Path, chat: bool = True, width: int = 64, size: int = 400) -> Path:
    """Write a random Llama with byte-level BPE, so that it can say anything; `size` tokens at most.

    chat: with a template of its own, and tokens for the roles.
    """
    torch.manual_seed(0)
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<pad>", *ROLES]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    inner.train_from_iterator(
        TEXT,
        trainers.BpeTrainer(vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="<|end|>" if chat else "</s>", pad_token="<pad>"
    )
    tokenizer.chat_template = TEMPLATE if chat else None
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=16384,
            bos_token_id=0,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=2,
        )
    )
    return _write(folder, model, tokenizer)


def _words(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """Whole words and marks as tokens, the end added behind them as T5 does."""
    inner = Tokenizer(models.WordLevel(unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Split("_", "isolated")])
    inner.train_from_iterator(texts, trainers.WordLevelTrainer(special_tokens=["<pad>", "</s>", "<unk>"]))
    inner.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=2048
    )


def _write(folder: Path, model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)  # type: ignore[operator]
    tokenizer.save_pretrained(folder)
    return folder
