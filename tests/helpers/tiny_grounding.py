"""A tiny random Grounding DINO and a tiny random SAM 2 in the hub's layout, made on the spot."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    BertTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    Sam2Config,
    Sam2ImageProcessor,
    Sam2Model,
    Sam2Processor,
    Sam2VideoConfig,
    Sam2VideoModel,
)

SIDE = 64  # px of SAM 2's square input
SHORT = 96  # px, short side that the detector sees
IMAGE = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.25]}


def write_tiny_detector(folder: Path) -> Path:
    """Write Grounding DINO's config, weights, tokenizer and processor into `folder` and give it back."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = [f"[unused{index}]" for index in range(1030)]
    # the network tells phrases apart by these indices of BERT's own vocabulary
    special = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}
    for index, word in special.items():
        vocabulary[index] = word
    for index, letter in enumerate(string.ascii_lowercase):
        vocabulary[200 + index], vocabulary[300 + index] = letter, f"##{letter}"
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    size = {"shortest_edge": SHORT, "longest_edge": 2 * SHORT}
    GroundingDinoProcessor(
        GroundingDinoImageProcessor(size=size, **IMAGE), BertTokenizer(str(folder / "vocab.txt"))
    ).save_pretrained(folder)
    model = GroundingDinoForObjectDetection(
        GroundingDinoConfig(
            backbone_config={
                "model_type": "swin",
                "image_size": SIDE,
                "embed_dim": 8,
                "depths": [1, 1, 1, 1],
                "num_heads": [1, 1, 2, 2],
                "window_size": 4,
                "out_indices": [2, 3, 4],
            },
            text_config={
                "model_type": "bert",
                "vocab_size": len(vocabulary),
                "hidden_size": 32,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "intermediate_size": 48,
            },
            num_queries=8,
            d_model=32,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=48,
            decoder_ffn_dim=48,
        )
    )
    randomise(model, 0.1).save_pretrained(folder)
    return folder


def write_tiny_sam2(folder: Path, video: bool = False) -> Path:
    """Write SAM 2's config, weights and processor into `folder` and give it back.

    video: in the layout of the published checkpoints, of whose model for videos SAM 2 is a part.
    """
    Sam2Processor(Sam2ImageProcessor(size={"height": SIDE, "width": SIDE}, **IMAGE)).save_pretrained(folder)
    parts: dict[str, dict[str, Any]] = {
        "vision_config": {
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": 8,
                "num_attention_heads": 1,
                "image_size": [SIDE, SIDE],
                "blocks_per_stage": [1, 1, 2, 1],
                "embed_dim_per_stage": [8, 16, 32, 64],
                "num_attention_heads_per_stage": [1, 1, 2, 2],
                "window_size_per_stage": [4, 4, 2, 2],
                "window_positional_embedding_background_size": [4, 4],
                "global_attention_blocks": [3],
            },
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "fpn_hidden_size": 32,
        },
        "prompt_encoder_config": {"hidden_size": 32, "image_size": SIDE, "mask_input_channels": 4},
        "mask_decoder_config": {
            "hidden_size": 32,
            "mlp_dim": 48,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    }
    if video:
        memory = {
            "image_size": SIDE,
            "memory_attention_hidden_size": 32,
            "memory_attention_feed_forward_hidden_size": 48,
            "memory_attention_num_layers": 1,
            "memory_attention_rope_feat_sizes": [4, 4],
            "memory_encoder_hidden_size": 32,
            "memory_encoder_output_channels": 16,
            "mask_downsampler_embed_dim": 32,
            "memory_fuser_embed_dim": 32,
            "memory_fuser_intermediate_dim": 48,
            "memory_fuser_num_layers": 1,
        }
        parts["vision_config"]["model_type"] = "sam2_vision_model"
        model: nn.Module = Sam2VideoModel(Sam2VideoConfig(**parts, **memory))
    else:
        model = Sam2Model(Sam2Config(**parts))
    randomise(model, 0.2).save_pretrained(folder)
    return folder


def randomise(model: nn.Module, deviation: float) -> nn.Module:
    """Wider than the default initialisation, which would hide mistakes below the tolerance."""
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        nn.init.normal_(parameter, std=deviation, mean=float("norm" in name and name.endswith("weight")))
    return model
