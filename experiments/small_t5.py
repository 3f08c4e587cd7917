"""Teach a small T5, from nothing, to answer a prompt as another distiller would; written as the hub lays models out.

Tokens are letters and what often stands together (BPE), of texts without accents, case, digits and punctuation; the
fixed words of the prompt are one token each stretch, since they say nothing. While it learns, words are cut differently
each time they are seen (BPE-dropout, Provilkov et al., ACL 2020), and most records are made of pieces of two, for which
the teacher is asked anew: it is to learn what single words mean, and which of several places counts. No script of its
own: `learnt_distiller.py` uses it.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from halonerf.distillers.llm.prompts import PACKAGED, Prompt, as_text
from halonerf.types import ImageRecord, PseudoLabel

UNKNOWN = "unknown"  # what the prompts ask for where a record does not say
HEAD = 32  # channels of an attention head
SORTED = 16  # batches of records that are sorted by length together, so that little is padded
MIXED = 0.7  # share of records that are made of parts of two
RARE = 0.5  # of these, labels are drawn by the power 1 - RARE of how often they are there
SWAPPED = 0.4  # share of words that are exchanged, in half of the mixed fields
TELLING = 0.15  # share of these that become one that the teacher went by, rare ones as often as others
SILENT = 0.25  # share of the records that say nothing which are kept
DROPPED = 0.1  # share of merges that are left out, while it learns
WARM_UP = 100  # steps
LARGEST_GRADIENT = 1.0

Teacher = Callable[[Sequence[ImageRecord]], list[PseudoLabel]]
OnStep = Callable[[int, float], None]


def teach(
    folder: Path,
    records: Sequence[ImageRecord],
    teacher: Teacher,
    prompt: str = "paper",
    characters: int = 120,
    width: int = 128,
    layers: int = 2,
    words: int = 4000,
    steps: int = 1500,
    batch: int = 64,
    rate: float = 1.5e-3,
    seed: int = 0,
    on_step: OnStep | None = None,
) -> list[float]:
    """Fit the model on one thread and write it to `folder`; the loss of each step.

    Args:
        teacher: gives each record one label, "" where it says nothing.
        prompt: a file of halonerf/distillers/prompts. characters: of each field that are shown.
        width: channels, a multiple of 32. layers: of the encoder; the decoder has one. words: most tokens there are.
        rate: of Adam, rising for `WARM_UP` steps and falling to nothing with the last one.
    """
    torch.manual_seed(seed)
    chance, asked = random.Random(seed), Prompt(prompt, characters)
    tokenizer = learnt_tokens(fixed_words(prompt), [text_of(asked, record) for record in records], words)
    network = _network(len(tokenizer), width, layers)
    optimiser = torch.optim.AdamW(network.parameters(), rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda s: min(1.0, (s + 1) / WARM_UP) * (1.0 - s / steps))
    losses: list[float] = []
    for pairs in islice(batches(records, teacher, asked, batch, chance), steps):
        texts, answers = zip(*pairs, strict=True)
        shown = _cut(tokenizer, texts, DROPPED)
        wanted = _cut(tokenizer, answers, 0.0).input_ids
        wanted[wanted == tokenizer.pad_token_id] = -100
        loss = network(input_ids=shown.input_ids, attention_mask=shown.attention_mask, labels=wanted).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        if on_step:
            on_step(len(losses), losses[-1])
    tokenizer._tokenizer.model.dropout = None
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return losses


def learnt_tokens(fixed: Sequence[str], texts: Sequence[str], words: int) -> PreTrainedTokenizerFast:
    """A tokenizer of `texts`, in which each of `fixed` is one token."""
    inner = Tokenizer(models.BPE(unk_token="<unk>"))
    only_letters = normalizers.Replace(Regex(r"[^\p{L}]+"), " ")
    inner.normalizer = normalizers.Sequence(
        [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase(), only_letters]
    )
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    cut = re.compile("|".join(map(re.escape, fixed))) if fixed else re.compile("(?!)")
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.BpeTrainer(vocab_size=words, special_tokens=special, limit_alphabet=400, show_progress=False)
    inner.train_from_iterator([cut.sub(" ", text) for text in texts] + [UNKNOWN], trainer)
    inner.add_tokens([AddedToken(text, normalized=False) for text in fixed])
    inner.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=4096
    )


def batches(
    records: Sequence[ImageRecord], teacher: Teacher, prompt: Prompt, size: int, chance: random.Random
) -> Iterator[list[tuple[str, str]]]:
    """Prompts with the teacher's answers without end, each batch of like length."""
    known = teacher(records)
    names = [label.label for label in known]
    often = Counter(names)
    telling = sorted({label.evidence for label in known if label.evidence})
    seen = sorted(
        {word for record in records for text in (record.caption, *record.categories) for word in text.split()}
    )
    weights = [often[name] ** -RARE for name in names]
    while True:
        drawn = iter(chance.choices(records, weights, k=2 * len(records)))
        shown = [
            mixed(next(drawn), next(drawn), seen, telling, chance) if chance.random() < MIXED else record
            for record in records
        ]
        labels = teacher(shown)
        pairs = [
            (text_of(prompt, r), label.label or UNKNOWN)
            for r, label in zip(shown, labels, strict=True)
            if label.label or chance.random() < SILENT
        ]
        chance.shuffle(pairs)
        for start in range(0, len(pairs), size * SORTED):
            near = sorted(pairs[start : start + size * SORTED], key=lambda pair: len(pair[0]))
            cut = [near[place : place + size] for place in range(0, len(near), size)]
            chance.shuffle(cut)
            yield from cut


def mixed(
    one: ImageRecord, other: ImageRecord, seen: Sequence[str], telling: Sequence[str], chance: random.Random
) -> ImageRecord:
    """A record of some fields of each: whole, in pieces, or empty; with some of their words exchanged for others.

    Args:
        seen: any words. telling: words that the teacher went by.
    """

    def exchanged(text: str) -> str:
        often = chance.choice((0.0, SWAPPED))
        return " ".join(
            chance.choice(telling or seen if chance.random() < TELLING else seen) if chance.random() < often else word
            for word in text.split(" ")
        )

    number = f"IMG_{chance.randrange(10_000):04}.jpg"
    deepest = one.categories[chance.randrange(len(one.categories) + 1) :]
    pieces = tuple(piece(category, chance) for category in other.categories[-2:])
    caption = chance.choice((one.caption, piece(one.caption, chance), piece(other.caption, chance), ""))
    filename = chance.choice((one.filename, piece(one.filename.replace("_", " "), chance), number, number))
    categories = chance.choice((one.categories, deepest, pieces, ()))
    return replace(
        one, caption=exchanged(caption), filename=exchanged(filename), categories=tuple(map(exchanged, categories))
    )


def piece(text: str, chance: random.Random) -> str:
    """Some words of `text` that follow each other."""
    words = text.split()
    start = chance.randrange(len(words) or 1)
    return " ".join(words[start : start + chance.randint(1, 6)])


def fixed_words(prompt: str) -> list[str]:
    """What stands between the variables of a prompt of the package."""
    parts = re.split(r"\{\{.*?\}\}", (PACKAGED / f"{prompt}.txt").read_text(encoding="utf-8").strip())
    return list(dict.fromkeys(part for part in parts if part.strip()))


def text_of(prompt: Prompt, record: ImageRecord) -> str:
    """What `hf_generate` shows an encoder-decoder model."""
    return as_text(prompt.render(prompt.fields(record)))


def parameters(folder: Path) -> int:
    """Numbers in a model that was written."""
    return int(T5ForConditionalGeneration.from_pretrained(folder).num_parameters())


def _network(tokens: int, width: int, layers: int) -> T5ForConditionalGeneration:
    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=tokens,
            d_model=width,
            d_kv=HEAD,
            num_heads=width // HEAD,
            d_ff=4 * width,
            num_layers=layers,
            num_decoder_layers=1,
            dropout_rate=0.0,  # 0.1 learnt more slowly; words that are cut anew each time are enough
            pad_token_id=0,
            eos_token_id=1,
            decoder_start_token_id=0,
        )
    )


def _cut(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], dropped: float) -> Any:
    tokenizer._tokenizer.model.dropout = dropped
    return tokenizer(list(texts), padding=True, return_tensors="pt")
