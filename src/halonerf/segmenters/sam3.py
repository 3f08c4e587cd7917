"""SAM 3 (Carion et al., "SAM 3: Segment Anything with Concepts", 2025) through transformers: finds what a text names.

The slow half is the image encoder, the light half the text encoder, the detector and the mask head. The network sees
the whole photo at once, squeezed into a square.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from halonerf.errors import BadInput
from halonerf.segmenters.hub import read_pretrained, write_pretrained

PUBLISHED = "facebook/sam3"
NEVER = 1e-6  # probability that no answer falls below, so that logits stay finite


class Sam3(nn.Module):
    """Text-prompted segmentation by SAM 3's own weights.

    What comes back for a pixel, by `output`: "instances", the largest of mask probability x score over all objects
    that the detector proposes, score being transformers' own (probability of the object x probability that the
    concept is in the photo at all). The largest, not the union of independent chances: 200 proposals of 2 % each would
    make a "yes" of nothing. "semantic" is the network's second head, one map of everything that the text names. It
    knows no presence, so it paints words that the photo does not show; hence it is not the default.

    Args:
        weights: hub id, or a local folder in the hub's layout.
        output: "instances" or "semantic".
        trainable: parts of transformers' model that adaptation may change: "mask_decoder", "detr_decoder", …

    Raises:
        MissingArtifact: the weights are neither in the folder, nor in the local cache, nor to be had from the hub.
        BadInput: the files are there but hold no SAM 3, or only a part of its weights.
    """

    weights_name: ClassVar[str] = "model"

    data_options = ("weights",)

    def __init__(
        self,
        weights: str = PUBLISHED,
        output: Literal["instances", "semantic"] = "instances",
        trainable: Sequence[str] = ("mask_decoder", "dot_product_scoring"),
    ) -> None:
        super().__init__()
        from transformers import Sam3Model, Sam3Processor

        if output not in ("instances", "semantic"):
            raise BadInput(f"expected segmenter.output to be instances or semantic, got '{output}'.")
        self.model: Any
        self.model, self.processor = read_pretrained(
            weights, "SAM 3", PUBLISHED, "segmenter=sam3 segmenter.weights", Sam3Model, Sam3Processor
        )
        self.output = output
        self.trainable = [f"model.{part}" for part in trainable]
        self.eval()

    def encode(self, images: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Feature maps of images [B, 3, H, W] in [0, 1]: `level0` (the finest), `level1`, …, [B, C, h, w].

        `size` [B, 2] is the height and width of the maps that `decode` gives.
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
        words = self._words(prompts).to(encoded["size"].device)
        texts = self.model.get_text_features(**words).pooler_output
        maps = []
        for text, mask in zip(texts, words["attention_mask"], strict=True):
            found = self.model(
                vision_embeds=vision,
                text_embeds=BaseModelOutputWithPooling(pooler_output=text.expand(photos, -1, -1)),
                attention_mask=mask.expand(photos, -1),
            )
            # to the photo's shape: the short side was stretched to a square
            maps.append(interpolate(self._probability(found), size=size, mode="bilinear", antialias=True)[:, 0])
        return torch.logit(torch.stack(maps, dim=1), eps=NEVER)

    def forward(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Logits [B, P, h, w]."""
        return self.decode(self.encode(images), prompts)

    def save(self, path: Path) -> None:
        """Write a folder in the hub's layout: config, weights, tokenizer, processor."""
        write_pretrained(path, self.model, self.processor)

    def _vision(self, encoded: dict[str, Tensor]) -> Any:
        """The image encoder's answer as transformers has it. Positions depend on shapes alone: they are not stored."""
        from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

        levels: list[Any] = [encoded[f"level{i}"] for i in range(sum(key.startswith("level") for key in encoded))]
        place = self.model.vision_encoder.neck.position_encoding
        positions = [place(level.shape, level.device, level.dtype) for level in levels]
        unread: Any = None  # its forward drops the last level
        return Sam3VisionEncoderOutput(fpn_hidden_states=(*levels, unread), fpn_position_encoding=(*positions, unread))

    def _words(self, prompts: Sequence[str]) -> Any:
        """Indices [P, 32] and their mask, padded and cut as its processor pads."""
        return self.processor.tokenizer(
            list(prompts), padding="max_length", truncation=True, max_length=32, return_tensors="pt"
        )

    def _probability(self, found: Any) -> Tensor:
        """One text's map [B, 1, side, side]."""
        if self.output == "semantic":
            return found.semantic_seg.sigmoid()
        scores = found.pred_logits.sigmoid() * found.presence_logits.sigmoid()
        return (found.pred_masks.sigmoid() * scores[..., None, None]).amax(dim=1, keepdim=True)
