"""A tiny random SAM 3 in the hub's layout, made on the spot."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import Sam3Config, Sam3ImageProcessor, Sam3Model, Sam3Processor

from helpers.tiny_clipseg import write_letters

SIDE = 56  # px of the square input; patches of 14


def write_tiny_sam3(folder: Path, video: bool = False) -> Path:
    """Write config, weights, tokenizer and processor into `folder` and give it back.

    video: in the layout of the published checkpoint, of which the detector is a part.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer, vocabulary = write_letters(folder, 32)
    image = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.25], "size": {"height": SIDE, "width": SIDE}}
    Sam3Processor(Sam3ImageProcessor(**image), tokenizer).save_pretrained(folder)
    transformer = {"hidden_size": 32, "num_attention_heads": 2}
    layers = {**transformer, "num_layers": 2, "intermediate_size": 48}
    config = Sam3Config(
        vision_config={
            "backbone_config": {
                "model_type": "sam3_vit_model",
                "hidden_size": 32,
                "intermediate_size": 48,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": SIDE,
                "pretrain_image_size": SIDE,
                "patch_size": 14,
                "window_size": 2,
                "global_attn_indexes": [1],
            },
            "fpn_hidden_size": 32,
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        },
        text_config={
            **transformer,
            "model_type": "clip_text_model",
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "projection_dim": 24,
            "vocab_size": vocabulary,
            "max_position_embeddings": 32,
            "bos_token_id": 0,
            "eos_token_id": 1,
            "pad_token_id": 1,
        },
        geometry_encoder_config={**layers},
        detr_encoder_config={**layers},
        detr_decoder_config={**layers, "num_queries": 5},
        mask_decoder_config={**transformer},
    )
    torch.manual_seed(0)
    model = Sam3Model(config)
    for name, parameter in model.named_parameters():  # the default deviation would hide mistakes below the tolerance
        torch.nn.init.normal_(parameter, std=0.2, mean=float("norm" in name and name.endswith("weight")))
    model.save_pretrained(folder)
    if video:
        described = json.loads((folder / "config.json").read_text())
        whole = {"architectures": ["Sam3VideoModel"], "model_type": "sam3_video", "detector_config": described}
        (folder / "config.json").write_text(json.dumps(whole))
        weights = load_file(folder / "model.safetensors")
        weights = {f"detector_model.{name}": value for name, value in weights.items()}
        weights["tracker_neck.anything"] = torch.zeros(3)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder
