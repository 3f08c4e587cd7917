"""Tiny random CLIP, SigLIP and SigLIP 2 models in the hub's layout, made on the spot."""

from __future__ import annotations

import json
import string
from pathlib import Path

import torch
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTokenizer,
    PreTrainedModel,
    Siglip2Config,
    Siglip2ImageProcessor,
    Siglip2Model,
    Siglip2Tokenizer,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
)

SIDE = 32  # px of the square input
TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
LETTERS = list(string.ascii_lowercase)
SPECIAL = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}  # of `_letters_tokenizer`
LOOK = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.25]}  # of their own, so that a test sees them used


def write_tiny(kind: str, folder: Path, deviation: float | None = 0.2, **size: int) -> Path:
    """Write a "clip", "siglip" or "siglip2" (of any aspect) into `folder` and give it back.

    deviation: of all weights; the default of 0.02 would hide mistakes below the tolerance. None: the model's own
    initialisation, for models that are trained. size: of both towers, see `TOWER`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = {"clip": _clip, "siglip": _siglip, "siglip2": _siglip2}[kind](folder, {**TOWER, **size})
    if deviation is not None:
        for name, parameter in model.named_parameters():
            if not name.startswith("logit_"):
                torch.nn.init.normal_(parameter, std=deviation)
    model.save_pretrained(folder)
    return folder


def _clip(folder: Path, tower: dict[str, int]) -> PreTrainedModel:
    words = ["<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{c}</w>" for c in LETTERS)]
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=40).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}, **LOOK).save_pretrained(
        folder
    )
    special = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    return CLIPModel(
        CLIPConfig(
            text_config={**tower, "vocab_size": len(words), "max_position_embeddings": 40, **special},
            vision_config={**tower, "image_size": SIDE, "patch_size": 8},
            projection_dim=24,
        )
    )


def _letters_tokenizer(folder: Path) -> int:
    words = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *LETTERS]
    vocabulary = {word: index for index, word in enumerate(words)}
    Siglip2Tokenizer(vocab=vocabulary, merges=[], model_max_length=40).save_pretrained(folder)
    return len(words)


def _siglip(folder: Path, tower: dict[str, int]) -> PreTrainedModel:
    words = _letters_tokenizer(folder)
    SiglipImageProcessor(size={"height": SIDE, "width": SIDE}, **LOOK).save_pretrained(folder)
    return SiglipModel(
        SiglipConfig(
            text_config={**tower, "vocab_size": words, "max_position_embeddings": 40, **SPECIAL},
            vision_config={**tower, "image_size": SIDE, "patch_size": 8},
        )
    )


def _siglip2(folder: Path, tower: dict[str, int]) -> PreTrainedModel:
    words = _letters_tokenizer(folder)
    Siglip2ImageProcessor(patch_size=8, max_num_patches=20, **LOOK).save_pretrained(folder)
    return Siglip2Model(
        Siglip2Config(
            text_config={**tower, "vocab_size": words, "max_position_embeddings": 40, **SPECIAL},
            vision_config={**tower, "num_patches": 16, "patch_size": 8},
        )
    )
