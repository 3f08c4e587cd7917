"""Dense CLIP embeddings without training (MaskCLIP: Zhou et al., "Extract Free Dense Labels from CLIP", ECCV 2022).

CLIP pools a photo's patches by its last attention. Without that attention, by its value path only, every patch keeps
its own contribution, in the space of the texts. The residual and the feed-forward layer of CLIP's last block stay, as
in the authors' code. SigLIP pools in a head behind the blocks: there it is that head's attention which is left out.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.functional import interpolate, linear

from halonerf.errors import BadInput


def dense_embeddings(model: Any, processor: Any, images: Tensor) -> Tensor:
    """Unnormalised embeddings [B, D, h, w] of the patches of images [B, 3, H, W] in [0, 1].

    A patch has as many pixels as in pretraining, so that larger images have finer maps; position embeddings are
    interpolated to their number and aspect. Images are resampled to whole patches (SigLIP 2 does so itself).

    Args:
        model: transformers' CLIP, SigLIP or SigLIP 2. processor: its image processor.

    Raises: BadInput for another architecture.
    """
    vision: Any = getattr(model, "vision_model", None)
    patch = getattr(getattr(vision, "embeddings", None), "patch_size", None)
    if not isinstance(patch, int):
        raise _unsupported(model)
    rows, columns = (max(1, round(length / patch)) for length in images.shape[-2:])
    if model.config.model_type == "siglip2":
        pixels = _preprocessed(processor, images, max_num_patches=rows * columns).to(model.device)
        rows, columns = (int(n) for n in pixels["spatial_shapes"][0])
        patches = pixels["pixel_values"][:, : rows * columns]  # the rest is padding
        tokens = vision.embeddings(patches, pixels["spatial_shapes"])
    else:
        size = (rows * patch, columns * patch)
        if images.shape[-2:] != size:
            images = interpolate(images, size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
        pixels = _preprocessed(processor, images, do_resize=False, do_center_crop=False).to(model.device)
        tokens = vision.embeddings(pixels["pixel_values"], interpolate_pos_encoding=True)
    if hasattr(vision, "pre_layrnorm") and hasattr(model, "visual_projection"):
        embeddings = model.visual_projection(_clip_values(vision, tokens)[:, 1:])  # without the class token
    elif hasattr(getattr(vision, "head", None), "probe"):
        embeddings = _siglip_values(vision, tokens)
    else:
        raise _unsupported(model)
    return embeddings.float().transpose(1, 2).unflatten(2, (rows, columns))


def _preprocessed(processor: Any, images: Tensor, **options: Any) -> Any:
    """Images normalised as in the checkpoint's pretraining, in transformers' type."""
    return processor(
        list(images.float()),
        do_rescale=False,  # images are in [0, 1] already
        do_convert_rgb=False,
        input_data_format="channels_first",
        return_tensors="pt",
        **options,
    )


def _clip_values(vision: Any, tokens: Tensor) -> Tensor:
    """Tokens [B, N, C] after all blocks, the last of them without its attention, and the final norm."""
    hidden = vision.pre_layrnorm(tokens)
    *blocks, last = vision.encoder.layers
    for block in blocks:
        hidden = block(hidden, attention_mask=None)
    attention = last.self_attn
    hidden = hidden + attention.out_proj(attention.v_proj(last.layer_norm1(hidden)))
    return vision.post_layernorm(hidden + last.mlp(last.layer_norm2(hidden)))


def _siglip_values(vision: Any, tokens: Tensor) -> Tensor:
    """Tokens [B, N, C] after all blocks and the pooling head, applied as if each token were the only one."""
    hidden = tokens
    for block in vision.encoder.layers:
        hidden = block(hidden, attention_mask=None)
    hidden = vision.post_layernorm(hidden)
    head, attention = vision.head, vision.head.attention
    weight, bias = attention.in_proj_weight.chunk(3)[2], attention.in_proj_bias.chunk(3)[2]  # query, key, value
    hidden = attention.out_proj(linear(hidden, weight, bias))
    return hidden + head.mlp(head.layernorm(hidden))


def _unsupported(model: Any) -> BadInput:
    return BadInput(
        f"expected a CLIP, SigLIP or SigLIP 2 for dense embeddings, got a {type(model).__name__}, whose blocks differ."
        "\nUse for example: retriever.weights=openai/clip-vit-base-patch32"
    )
