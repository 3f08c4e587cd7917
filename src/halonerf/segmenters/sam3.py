"""SAM 3 (Carion et al., "SAM 3: Segment Anything with Concepts", 2025) through transformers.

`encode` runs the image encoder, the slow part; `decode` the text encoder, the detector and the mask head. The network
takes the whole photo at once, resized to a square.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from halonerf.config.option_types import Text
from halonerf.hub import PretrainedSource, write_pretrained

PUBLISHED = "facebook/sam3"
MIN_PROBABILITY = 1e-6  # of a pixel, so that logits stay finite


class Sam3(nn.Module):
    """Text-prompted segmentation with pretrained SAM 3 weights.

    A pixel's probability, by `output`: "instances", the maximum of mask probability x score over all objects that the
    detector proposes, with transformers' score (probability of the object x probability that the concept is in the
    photo). The maximum, not the union of independent events: 200 proposals of 2 % each would add up to a detection.
    "semantic" is the network's second head, one map of everything that the text names. It has no presence score, so it
    marks regions for concepts that the photo does not show; hence it is not the default.

    Args:
        weights: hub id, or a local folder in the hub's layout.
        output: "instances" or "semantic".
        trainable: parts of transformers' model that adaptation may change: "mask_decoder", "detr_decoder", …

    Raises: MissingArtifact, BadInput: the weights cannot be read (`PretrainedSource.model`).
    """

    weights_name: ClassVar[str] = "model"
    shared_keys: ClassVar[tuple[str, ...]] = ("size",)

    data_options = ("weights",)

    def __init__(
        self,
        weights: Text = PUBLISHED,
        output: Literal["instances", "semantic"] = "instances",
        trainable: Sequence[Text] = ("mask_decoder", "dot_product_scoring"),
    ) -> None:
        super().__init__()
        from transformers import Sam3Model, Sam3Processor

        source = PretrainedSource(
            weights, "SAM 3", PUBLISHED, "segmenter=sam3 segmenter.weights", "segmenter=timm_text"
        )
        self.model: Any = source.model(Sam3Model)
        self.processor = source.part(Sam3Processor)
        self.output = output
        self.trainable = [f"model.{part}" for part in trainable]
        self.eval()

    def encode(self, images: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Feature maps of images [B, 3, H, W] in [0, 1]: `level0` (the finest), `level1`, …, [B, C, h, w].

        `size` [B, 2] is the height and width in px of the maps that `decode` returns.
        """
        pixels = self.processor.image_processor(list(images), do_rescale=False, return_tensors="pt")["pixel_values"]
        # the last level is not used by transformers' own forward either
        levels = self.model.vision_encoder(pixels.to(images.device)).fpn_hidden_states[:-1]
        height, width = images.shape[-2:]
        scale = max(levels[0].shape[-2:]) / max(height, width)
        size = torch.tensor([max(1, round(height * scale)), max(1, round(width * scale))], device=images.device)
        return {"size": size.expand(len(images), 2)} | {f"level{i}": level for i, level in enumerate(levels)}

    def decode(self, encoded: dict[str, Tensor], prompts: Sequence[str]) -> Tensor:
        """Logits [B, P, h, w]; the long side of (h, w) is that of the mask head, 288 px as published."""
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        size = [int(value) for value in encoded["size"][0]]
        vision = self._vision(encoded)
        photos = len(encoded["size"])
        tokens = self._tokens(prompts).to(encoded["size"].device)
        texts = self.model.get_text_features(**tokens).pooler_output
        maps = []
        for text, mask in zip(texts, tokens["attention_mask"], strict=True):
            output = self.model(
                vision_embeds=vision,
                text_embeds=BaseModelOutputWithPooling(pooler_output=text.expand(photos, -1, -1)),
                attention_mask=mask.expand(photos, -1),
            )
            # to the photo's aspect ratio: the short side was stretched to a square
            maps.append(interpolate(self._probability(output), size=size, mode="bilinear", antialias=True)[:, 0])
        return torch.logit(torch.stack(maps, dim=1), eps=MIN_PROBABILITY)

    def forward(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Logits [B, P, h, w] of images [B, 3, H, W] in [0, 1]."""
        return self.decode(self.encode(images), prompts)

    def save(self, path: Path) -> None:
        """Atomically write config, weights, tokenizer and processor as the folder `path` in the hub's layout."""
        write_pretrained(path, self.model, self.processor)

    def _vision(self, encoded: dict[str, Tensor]) -> Any:
        """The image encoder's output in transformers' type; positions depend on shapes alone and are recomputed."""
        from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

        levels: list[Any] = [encoded[f"level{i}"] for i in range(sum(key.startswith("level") for key in encoded))]
        position_encoding = self.model.vision_encoder.neck.position_encoding
        positions = [position_encoding(level.shape, level.device, level.dtype) for level in levels]
        unused: Any = None  # transformers' forward drops the last level
        return Sam3VisionEncoderOutput(fpn_hidden_states=(*levels, unused), fpn_position_encoding=(*positions, unused))

    def _tokens(self, prompts: Sequence[str]) -> Any:
        """Token indices [P, 32] and their mask, padded and truncated as in transformers' processor."""
        return self.processor.tokenizer(
            list(prompts), padding="max_length", truncation=True, max_length=32, return_tensors="pt"
        )

    def _probability(self, output: Any) -> Tensor:
        """Probability map of one text, [B, 1, side, side]."""
        if self.output == "semantic":
            return output.semantic_seg.sigmoid()
        scores = output.pred_logits.sigmoid() * output.presence_logits.sigmoid()
        return (output.pred_masks.sigmoid() * scores[..., None, None]).amax(dim=1, keepdim=True)
