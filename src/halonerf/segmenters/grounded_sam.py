"""Grounding DINO (Liu et al., ECCV 2024) puts boxes around what a text names, SAM 2 (Ravi et al., 2024) cuts them out.

"Grounded SAM" (Ren et al., 2024) through transformers. What knows no text is both models' image backbones. Grounding
DINO lets text and image look at each other from its encoder on, so that its encoder belongs to the other half, which
is therefore not light: four fifths of the time on a CPU (benchmarks/segmenters.py). For many words take another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from halonerf.errors import BadInput
from halonerf.segmenters.hub import read_pretrained

DETECTOR, CUTTER = "IDEA-Research/grounding-dino-tiny", "facebook/sam2.1-hiera-tiny"
NEVER = 1e-6  # probability that no answer falls below, so that logits stay finite


class GroundedSam(nn.Module):
    """Text-prompted segmentation by boxes and masks; it cannot be adapted, as the choice of boxes has no gradient.

    A pixel's probability is the largest of mask probability x confidence over the boxes. The detector's scores are
    shy: what people accept from `threshold` on must not stay below one half. Hence the confidence is the score with
    its odds divided by those of the threshold: one half at the threshold, in the same order.

    Args:
        weights: hub id of a Grounding DINO, or a local folder in the hub's layout.
        sam_weights: the same of a SAM 2.
        threshold: smallest score of a box that counts, in (0, 1).
        boxes: boxes a photo and text at most, the best first.

    Raises:
        MissingArtifact: the weights are neither in the folder, nor in the local cache, nor to be had from the hub.
        BadInput: the files are there but hold other models, or only a part of the weights.
    """

    data_options = ("weights", "sam_weights")

    def __init__(
        self, weights: str = DETECTOR, sam_weights: str = CUTTER, threshold: float = 0.25, boxes: int = 50
    ) -> None:
        super().__init__()
        from transformers import GroundingDinoForObjectDetection, GroundingDinoProcessor, Sam2Model, Sam2Processor

        if not 0 < threshold < 1 or boxes < 1:
            raise BadInput(
                f"expected segmenter.threshold in (0, 1) and at least one of segmenter.boxes, got {threshold} and "
                f"{boxes}.\nThe defaults are: segmenter.threshold=0.25 segmenter.boxes=50"
            )
        self.detector: Any
        self.cutter: Any
        self.detector, self.reader = read_pretrained(
            weights,
            "Grounding DINO",
            DETECTOR,
            "segmenter=grounded_sam segmenter.weights",
            GroundingDinoForObjectDetection,
            GroundingDinoProcessor,
        )
        self.cutter, self.framer = read_pretrained(
            sam_weights, "SAM 2", CUTTER, "segmenter=grounded_sam segmenter.sam_weights", Sam2Model, Sam2Processor
        )
        # transformers runs the backbone and the rest in one forward: the backbone is taken out of it, and what stands
        # in its place repeats what the backbone said before
        place = self.detector.model.backbone
        self.backbone, self.recall = place.conv_encoder.model, _Recall()
        place.conv_encoder = self.recall
        self.threshold, self.boxes = threshold, boxes
        self.eval()

    def encode(self, images: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Features of images [B, 3, H, W] in [0, 1]: `seen0`, … of the detector, `cut0`, … of SAM 2, [B, C, h, w].

        `frame` [B, 2] is the height and width of what the detector saw, `size` [B, 2] that of the maps of `decode`.
        """
        options = {"do_rescale": False, "return_tensors": "pt"}
        pixels = self.reader.image_processor(list(images), **options)["pixel_values"].to(images.device)
        square = self.framer.image_processor(list(images), **options)["pixel_values"].to(images.device)
        seen = self.backbone(pixels, return_dict=True).feature_maps
        cut = self.cutter.get_image_embeddings(square)
        height, width = images.shape[-2:]
        scale = max(cut[0].shape[-2:]) / max(height, width)  # masks are as fine as the finest features
        size = torch.tensor([max(1, round(height * scale)), max(1, round(width * scale))], device=images.device)
        frame = torch.tensor(pixels.shape[-2:], device=images.device)
        return {
            "size": size.expand(len(images), 2),
            "frame": frame.expand(len(images), 2),
            **{f"seen{i}": level for i, level in enumerate(seen)},
            **{f"cut{i}": level for i, level in enumerate(cut)},
        }

    @torch.no_grad()
    def decode(self, encoded: dict[str, Tensor], prompts: Sequence[str]) -> Tensor:
        """Logits [B, P, h, w]; the long side of (h, w) is that of SAM 2's masks, 256 px as published."""
        maps = []
        for prompt in prompts:
            scores, corners = self._detect(encoded, prompt)
            maps.append(
                torch.stack([self._cut(encoded, photo, scores[photo], corners[photo]) for photo in range(len(scores))])
            )
        return torch.logit(torch.stack(maps, dim=1), eps=NEVER)

    def _detect(self, encoded: dict[str, Tensor], prompt: str) -> tuple[Tensor, Tensor]:
        """Scores [B, Q], the best first, and corners [B, Q, 4] (x0, y0, x1, y1) as shares of the photo."""
        levels = _levels(encoded, "seen")
        self.recall.features = levels
        height, width = (int(value) for value in encoded["frame"][0])
        blank = levels[0].new_zeros(1, 1, 1, 1).expand(len(levels[0]), 3, height, width)  # its shape alone is read
        # a phrase is lower case and ends with a full stop, as in pretraining
        phrase = prompt.lower().strip().rstrip(".") + "."
        words = self.reader.tokenizer([phrase] * len(blank), truncation=True, return_tensors="pt").to(blank.device)
        found = self.detector(pixel_values=blank, **words)
        scores, order = found.logits.sigmoid().amax(dim=-1).topk(min(self.boxes, found.logits.shape[1]), dim=1)
        centres, sizes = found.pred_boxes.take_along_dim(order[..., None], dim=1).split(2, dim=-1)
        return scores, torch.cat([centres - sizes / 2, centres + sizes / 2], dim=-1)

    def _cut(self, encoded: dict[str, Tensor], photo: int, scores: Tensor, corners: Tensor) -> Tensor:
        """Probability [h, w] in one photo."""
        size = [int(value) for value in encoded["size"][photo]]
        kept = scores > self.threshold
        if not kept.any():
            return scores.new_zeros(size)
        odds = scores[kept] / (1 - scores[kept]) * (1 - self.threshold) / self.threshold
        masks = self.cutter(
            image_embeddings=[level[photo : photo + 1] for level in _levels(encoded, "cut")],
            input_boxes=(corners[kept] * self.framer.target_size)[None],
            multimask_output=False,
        ).pred_masks[0]
        probability = (masks.sigmoid() * (odds / (1 + odds))[:, None, None, None]).amax(dim=0, keepdim=True)
        # to the photo's shape: the short side was stretched to a square
        return interpolate(probability, size=size, mode="bilinear", antialias=True)[0, 0]


class _Recall(nn.Module):
    """Stands in for the detector's backbone: gives `features` back, all of it photo and no padding."""

    features: Sequence[Tensor] = ()

    def forward(self, pixels: Tensor, mask: Tensor) -> list[tuple[Tensor, Tensor]]:
        return [
            (level, torch.ones(len(level), *level.shape[-2:], dtype=torch.bool, device=level.device))
            for level in self.features
        ]


def _levels(encoded: dict[str, Tensor], name: str) -> list[Tensor]:
    """What was stored as `<name>0`, `<name>1`, …"""
    return [encoded[f"{name}{i}"] for i in range(sum(key.startswith(name) for key in encoded))]
