"""A tiny random SAM in the hub's layout, made on the spot; that of SAM 2 is in `tiny_grounding`."""

from __future__ import annotations

from pathlib import Path

from transformers import SamConfig, SamImageProcessor, SamModel, SamProcessor

from helpers.tiny_grounding import IMAGE, randomise

SIDE = 64  # px of the input's long side, which is padded to a square; patches of 8


def write_tiny_sam(folder: Path) -> Path:
    """Write SAM's config, weights and processor into `folder` and give it back."""
    square = {"height": SIDE, "width": SIDE}
    SamProcessor(SamImageProcessor(size={"longest_edge": SIDE}, pad_size=square, **IMAGE)).save_pretrained(folder)
    model = SamModel(
        SamConfig(
            vision_config={
                "hidden_size": 16,
                "output_channels": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": SIDE,
                "patch_size": 8,
                "window_size": 4,
                "global_attn_indexes": [1],
                "num_pos_feats": 16,
                "mlp_dim": 32,
            },
            prompt_encoder_config={
                "hidden_size": 32,
                "image_size": SIDE,
                "patch_size": 8,
                "mask_input_channels": 4,
                "image_embedding_size": SIDE // 8,
            },
            mask_decoder_config={
                "hidden_size": 32,
                "mlp_dim": 48,
                "num_attention_heads": 2,
                "iou_head_hidden_dim": 16,
            },
        )
    )
    randomise(model, 0.15).save_pretrained(folder)
    return folder
