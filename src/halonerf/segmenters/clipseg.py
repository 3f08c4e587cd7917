"""CLIPSeg (Lüddecke & Ecker, "Image Segmentation Using Text and Image Prompts", CVPR 2022) through transformers.

The slow half is CLIP's vision tower, the light half its text tower and CLIPSeg's decoder. The network sees squares
of one size; photos of any shape are covered with overlapping windows (`windows.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from halonerf.errors import BadInput, MissingArtifact
from halonerf.segmenters.windows import cut_windows, fit_short_side, merge_windows


class ClipSeg(nn.Module):
    """Text-prompted segmentation by CLIPSeg's own weights.

    Args:
        weights: hub id, or a local folder in the hub's layout (config, tokenizer, preprocessor, weights).
        image_size: px, the side of the network's square input.
        stride: step between windows as a fraction of their side, in (0, 1].

    Raises:
        MissingArtifact: the weights are neither in the folder, nor in the local cache, nor to be had from the hub.
        BadInput: the files are there but hold no CLIPSeg model, or only a part of its weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, weights: str = "CIDAS/clipseg-rd64-refined", image_size: int = 352, stride: float = 0.25
    ) -> None:
        super().__init__()
        self.model, self.tokenizer, mean, std = _load(weights)
        patch = self.model.config.vision_config.patch_size
        if image_size <= 0 or image_size % patch:
            raise BadInput(
                f"expected segmenter.image_size to be a multiple of the {patch} px patches of '{weights}', "
                f"got {image_size}.\nThe pretraining of CLIPSeg used: segmenter.image_size=352"
            )
        if not 0 < stride <= 1:
            raise BadInput(f"expected segmenter.stride in (0, 1], got {stride}.\nThe default is: segmenter.stride=0.25")
        self.image_size, self.stride = image_size, stride
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def encode(self, images: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """The vision tower's activations in every window.

        images: [B, 3, H, W] in [0, 1]. Returns `tokens` [B, N windows, L layers, T tokens, D] and `size` [B, 2],
        height and width of the scaled photo in pixels of the maps that `decode` gives.
        """
        pixels = fit_short_side(images, self.image_size)
        windows = cut_windows((pixels - self.mean) / self.std, self.image_size, self.stride)
        vision = self.model.clip.get_image_features(
            pixel_values=windows.flatten(0, 1), interpolate_pos_encoding=True, output_hidden_states=True
        )
        # hidden_states[0] is the embedding before the first layer, hence + 1
        layers = [vision.hidden_states[index + 1] for index in self.model.extract_layers]
        tokens = torch.stack(layers, dim=1).unflatten(0, windows.shape[:2])
        size = torch.tensor(pixels.shape[-2:], device=images.device).expand(len(images), 2)
        return {"tokens": tokens, "size": size}

    def decode(self, encoded: dict[str, Tensor], prompts: Sequence[str]) -> Tensor:
        """Logits [B, P, h, w], the short side of (h, w) being `image_size`."""
        tokens = encoded["tokens"]
        photos, windows = tokens.shape[:2]
        height, width = (int(value) for value in encoded["size"][0])
        layers = list(tokens.flatten(0, 1).unbind(1))
        maps = []
        for text in self._text(prompts):
            logits = self.model.decoder(layers, text.expand(photos * windows, -1)).logits
            maps.append(merge_windows(logits.unflatten(0, (photos, windows)), height, width, self.stride))
        return torch.stack(maps, dim=1)

    def _text(self, prompts: Sequence[str]) -> Tensor:
        """CLIP's embedding of each prompt, [P, D]."""
        words = self.tokenizer(list(prompts), padding=True, truncation=True, return_tensors="pt").to(self.mean.device)
        return self.model.clip.get_text_features(
            words["input_ids"], attention_mask=words["attention_mask"]
        ).pooler_output


def _load(weights: str) -> tuple[Any, Any, Sequence[float], Sequence[float]]:
    """Model in evaluation mode, tokenizer, and the mean and deviation its pixels are normalised with."""
    from transformers import AutoImageProcessor, AutoTokenizer, CLIPSegForImageSegmentation

    loaded: Any
    try:
        loaded = CLIPSegForImageSegmentation.from_pretrained(weights, output_loading_info=True)
        tokenizer = AutoTokenizer.from_pretrained(weights)
        pixels = AutoImageProcessor.from_pretrained(weights)
    except OSError as error:
        raise MissingArtifact(
            f"expected CLIPSeg's weights, tokenizer and preprocessor in '{weights}' (a hub id or a local folder), "
            f"but could not get them: {str(error).splitlines()[0]}\n"
            "Download them where there is a network with: hf download CIDAS/clipseg-rd64-refined --local-dir DIR\n"
            "and use them with: segmenter=clipseg segmenter.weights=DIR. Without a network: segmenter=timm_text"
        ) from error
    model, loading = loaded
    missing = sorted(loading["missing_keys"]) + sorted(str(key) for key in loading.get("mismatched_keys", ()))
    if missing:
        raise BadInput(
            f"expected all weights of a CLIPSeg model in '{weights}', but {len(missing)} are missing or of another "
            f"shape, the first: {missing[0]}.\n"
            "Download whole ones with: hf download CIDAS/clipseg-rd64-refined --local-dir DIR"
        )
    return model.eval(), tokenizer, pixels.image_mean, pixels.image_std
