"""CLIPSeg (Lüddecke & Ecker, "Image Segmentation Using Text and Image Prompts", CVPR 2022) through transformers.

`encode` runs CLIP's vision tower, the slow part; `decode` its text tower and CLIPSeg's decoder. The network takes
squares of one size; photos of any shape are covered with overlapping windows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from halonerf.config.option_types import Pixels, PositiveFraction, Text
from halonerf.errors import BadInput
from halonerf.hub import PretrainedSource, write_pretrained

PUBLISHED = "CIDAS/clipseg-rd64-refined"


class ClipSeg(nn.Module):
    """Text-prompted segmentation with pretrained CLIPSeg weights.

    Args:
        weights: hub id, or a local folder in the hub's layout.
        image_size: px, side of the network's square input.
        stride: step between windows as a fraction of their side, in (0, 1].
        trainable: parts of transformers' model that adaptation may change: "decoder", "clip.vision_model", …

    Raises: MissingArtifact, BadInput: the weights cannot be read (`PretrainedSource.model`); BadInput: an image size
        is no multiple of the model's patches.
    """

    weights_name: ClassVar[str] = "model"
    shared_keys: ClassVar[tuple[str, ...]] = ("size",)
    mean: Tensor
    std: Tensor

    data_options = ("weights",)

    def __init__(
        self,
        weights: Text = PUBLISHED,
        image_size: Pixels = 352,
        stride: PositiveFraction = 0.25,
        trainable: Sequence[Text] = ("decoder",),
    ) -> None:
        super().__init__()
        from transformers import AutoImageProcessor, AutoTokenizer, CLIPSegForImageSegmentation

        source = PretrainedSource(
            weights, "CLIPSeg", PUBLISHED, "segmenter=clipseg segmenter.weights", "segmenter=timm_text"
        )
        self.model: Any = source.model(CLIPSegForImageSegmentation)
        self.tokenizer, self.processor = source.part(AutoTokenizer), source.part(AutoImageProcessor)
        patch = self.model.config.vision_config.patch_size
        if image_size % patch:
            raise BadInput(
                f"expected segmenter.image_size to be a multiple of the {patch} px patches of '{weights}', "
                f"got {image_size}.\nThe pretraining of CLIPSeg used: segmenter.image_size=352"
            )
        self.image_size, self.stride = image_size, stride
        self.trainable = [f"model.{part}" for part in trainable]
        self.register_buffer("mean", torch.tensor(self.processor.image_mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(self.processor.image_std).view(3, 1, 1), persistent=False)
        self.eval()

    def encode(self, images: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Projected vision-tower tokens of every window of images [B, 3, H, W] in [0, 1].

        Returns: `tokens` [B, N windows, L layers, T tokens, D], in the order in which the decoder reads the layers;
        `size` [B, 2], height and width in px of the maps that `decode` returns. D is the decoder's 64, not the tower's
        768: the decoder's projections are independent of the text, so they are applied here, and a stored encoding is
        twelve times smaller.
        """
        pixels = fit_short_side(images, self.image_size)
        windows = cut_windows((pixels - self.mean) / self.std, self.image_size, self.stride)
        tokens = self._tokens(windows.flatten(0, 1)).unflatten(0, windows.shape[:2])
        size = torch.tensor(pixels.shape[-2:], device=images.device).expand(len(images), 2)
        return {"tokens": tokens, "size": size}

    def decode(self, encoded: dict[str, Tensor], prompts: Sequence[str]) -> Tensor:
        """Logits [B, P, h, w]; the short side of (h, w) is `image_size`."""
        tokens = encoded["tokens"]
        height, width = (int(value) for value in encoded["size"][0])
        maps = []
        for text in self._text(prompts):
            logits = self._logits(tokens.flatten(0, 1), text).unflatten(0, tokens.shape[:2])
            maps.append(merge_windows(logits, height, width, self.stride))
        return torch.stack(maps, dim=1)

    def forward(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Logits [B, P, h, w] of images [B, 3, H, W] in [0, 1]."""
        return self.decode(self.encode(images), prompts)

    def save(self, path: Path) -> None:
        """Atomically write config, weights, tokenizer and image processor as the folder `path` in the hub's layout."""
        write_pretrained(path, self.model, self.tokenizer, self.processor)

    def _tokens(self, windows: Tensor) -> Tensor:
        """Projected activations [N, L, T, D] of the tower's chosen layers; layers above those are not computed."""
        tower, decoder, chosen = self.model.clip.vision_model, self.model.decoder, list(self.model.extract_layers)
        state = tower.pre_layrnorm(tower.embeddings(windows, interpolate_pos_encoding=True))
        activations = []
        for layer in tower.encoder.layers[: max(chosen) + 1]:
            state = layer(state, attention_mask=None)
            activations.append(state)
        deepest_first = [activations[index] for index in reversed(chosen)]
        return torch.stack([reduce(taken) for reduce, taken in zip(decoder.reduces, deepest_first, strict=True)], dim=1)

    def _logits(self, tokens: Tensor, text: Tensor) -> Tensor:
        """Logits [N, side, side] of one text embedding [D] in all windows, from transformers' decoder layers."""
        decoder = self.model.decoder
        state = torch.zeros_like(tokens[:, 0])
        for index, layer in enumerate(decoder.layers):
            state = state + tokens[:, index]
            if index == decoder.conditional_layer:
                state = decoder.film_mul(text) * state + decoder.film_add(text)
            state = layer(state, attention_mask=None)
        side = self.image_size // self.model.config.vision_config.patch_size
        patches = state[:, 1:].transpose(1, 2).unflatten(2, (side, side))  # without the class token
        return decoder.transposed_convolution(patches).squeeze(1)

    def _text(self, prompts: Sequence[str]) -> Tensor:
        """CLIP's embedding of each prompt, [P, D]."""
        tokens = self.tokenizer(list(prompts), padding=True, truncation=True, return_tensors="pt").to(self.mean.device)
        return self.model.clip.get_text_features(
            tokens["input_ids"], attention_mask=tokens["attention_mask"]
        ).pooler_output


def fit_short_side(images: Tensor, side: int) -> Tensor:
    """Resample images [B, C, H, W] so that the short side is `side` px; the long side is rounded to whole pixels."""
    height, width = images.shape[-2:]
    scale = side / min(height, width)
    size = (max(side, round(height * scale)), max(side, round(width * scale)))
    if size == (height, width):
        return images
    return interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)


def window_starts(length: int, side: int, stride: float) -> list[int]:
    """First pixels of windows of `side` px that cover `length` px evenly, at most `stride * side` px apart.

    Raises: ValueError where `length` is shorter than a window or `stride` would leave gaps.
    """
    if length < side:
        raise ValueError(f"expected a length of at least the window's {side} px, got {length}")
    if not 0 < stride <= 1:
        raise ValueError(f"expected a stride in (0, 1] of the window's side, got {stride}")
    steps = math.ceil((length - side) / max(1.0, stride * side))
    return [round(index * (length - side) / steps) for index in range(steps + 1)] if steps else [0]


def cut_windows(images: Tensor, side: int, stride: float) -> Tensor:
    """Windows [B, N, C, side, side] of images [B, C, H, W] of short side `side`, in the order of `merge_windows`."""
    corners = window_corners(images.shape[-2], images.shape[-1], side, stride)
    return torch.stack([images[..., top : top + side, left : left + side] for top, left in corners], dim=1)


def window_corners(height: int, width: int, side: int, stride: float) -> list[tuple[int, int]]:
    """(top, left) of every window, in pixels."""
    return [(top, left) for top in window_starts(height, side, stride) for left in window_starts(width, side, stride)]


def merge_windows(values: Tensor, height: int, width: int, stride: float) -> Tensor:
    """Weighted average of windows [..., N, side, side] as [..., height, width].

    The weight falls towards a window's edges as a raised cosine that never reaches zero, so that seams are smooth and
    corners still count.
    """
    side = values.shape[-1]
    ramp = torch.sin(math.pi * (torch.arange(side, device=values.device) + 0.5) / side) ** 2 + 1e-3
    weight = (ramp[:, None] * ramp).to(values.dtype)
    total = values.new_zeros(*values.shape[:-3], height, width)
    weights = values.new_zeros(height, width)
    for index, (top, left) in enumerate(window_corners(height, width, side, stride)):
        total[..., top : top + side, left : left + side] += values[..., index, :, :] * weight
        weights[top : top + side, left : left + side] += weight
    return total / weights
