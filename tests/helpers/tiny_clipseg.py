"""A tiny random CLIPSeg in the hub's layout, made on the spot."""

from __future__ import annotations

import json
import string
from pathlib import Path

import torch
from transformers import CLIPSegConfig, CLIPSegForImageSegmentation, CLIPTokenizer, ViTImageProcessor

SIDE = 64  # px of the square input; patches of 16


def write_letters(folder: Path, length: int) -> tuple[CLIPTokenizer, int]:
    """Write CLIP's tokenizer with letters alone into `folder`; it, and the size of its vocabulary."""
    letters = list(string.ascii_lowercase)
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{c}</w>" for c in letters)]
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=length)
    tokenizer.save_pretrained(folder)
    return tokenizer, len(words)


def write_tiny_clipseg(folder: Path) -> Path:
    """Write config, weights, tokenizer and preprocessor into `folder` and give it back."""
    folder.mkdir(parents=True, exist_ok=True)
    _, vocabulary = write_letters(folder, 20)
    ViTImageProcessor(
        size={"height": SIDE, "width": SIDE}, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.25]
    ).save_pretrained(folder)
    tower = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
    config = CLIPSegConfig(
        text_config={
            **tower,
            "vocab_size": vocabulary,
            "max_position_embeddings": 20,
            "bos_token_id": 0,
            "eos_token_id": 1,
            "pad_token_id": 1,
        },
        vision_config={**tower, "image_size": SIDE, "patch_size": 16},
        projection_dim=24,
        extract_layers=[0, 1, 2],
        reduce_dim=16,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=32,
    )
    torch.manual_seed(0)
    model = CLIPSegForImageSegmentation(config)
    for parameter in model.parameters():  # the default deviation of 0.02 would hide mistakes below the tolerance
        torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    return folder
