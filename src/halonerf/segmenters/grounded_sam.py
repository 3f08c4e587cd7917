"""Grounded SAM (Ren et al., 2024): boxes by Grounding DINO (ECCV 2024), masks in them by SAM 2 (2024).

Through transformers. `encode` runs both image backbones. Grounding DINO fuses text and image from its encoder on, so
that its encoder is part of `decode`, which is therefore slow: four fifths of the time on a CPU
(benchmarks/segmenters.py). For many words use another segmenter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from halonerf.config.option_types import PositiveInt, ProperFraction, Text
from halonerf.hub import PretrainedSource

DETECTOR, SAM = "IDEA-Research/grounding-dino-tiny", "facebook/sam2.1-hiera-tiny"
MIN_PROBABILITY = 1e-6  # of a pixel, so that logits stay finite


class GroundedSam(nn.Module):
    """Text-prompted segmentation by boxes and masks; it cannot be adapted, as the choice of boxes has no gradient.

    A pixel's probability is the maximum of mask probability x confidence over the boxes. The detector's scores are low:
    a box that is accepted from `threshold` on must not have a probability below one half. Hence the confidence is the
    score with its odds divided by those of the threshold: one half at the threshold, in the same order.

    Args:
        weights: hub id of a Grounding DINO, or a local folder in the hub's layout.
        sam_weights: the same of a SAM 2.
        threshold: lowest score of a box that counts, in (0, 1).
        boxes: maximum number of boxes per photo and text, the best first.

    Raises: MissingArtifact, BadInput: the weights cannot be read (`PretrainedSource.model`).
    """

    data_options = ("weights", "sam_weights")
    shared_keys: ClassVar[tuple[str, ...]] = ("size", "frame")

    def __init__(
        self,
        weights: Text = DETECTOR,
        sam_weights: Text = SAM,
        threshold: ProperFraction = 0.25,
        boxes: PositiveInt = 50,
    ) -> None:
        super().__init__()
        from transformers import GroundingDinoForObjectDetection, GroundingDinoProcessor, Sam2Model, Sam2Processor

        option, fallback = "segmenter=grounded_sam segmenter.", "segmenter=timm_text"
        detector = PretrainedSource(weights, "Grounding DINO", DETECTOR, f"{option}weights", fallback)
        sam = PretrainedSource(sam_weights, "SAM 2", SAM, f"{option}sam_weights", fallback)
        self.detector: Any = detector.model(GroundingDinoForObjectDetection)
        self.detector_processor = detector.part(GroundingDinoProcessor)
        self.sam: Any = sam.model(Sam2Model)
        self.sam_processor = sam.part(Sam2Processor)
        # transformers runs the backbone and the rest in one forward: the backbone is replaced by a module that returns
        # features computed before
        parent = self.detector.model.backbone
        self.backbone, self.stored_features = parent.conv_encoder.model, _StoredFeatures()
        parent.conv_encoder = self.stored_features
        self.threshold, self.boxes = threshold, boxes
        self.eval()

    def encode(self, images: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Features of images [B, 3, H, W] in [0, 1]: `detector0`, … and `sam0`, … of the two models, [B, C, h, w].

        `frame` [B, 2] is the height and width in px of the detector's input, `size` [B, 2] that of `decode`'s maps.
        """
        options = {"do_rescale": False, "return_tensors": "pt"}
        pixels = self.detector_processor.image_processor(list(images), **options)["pixel_values"].to(images.device)
        square = self.sam_processor.image_processor(list(images), **options)["pixel_values"].to(images.device)
        detector = self.backbone(pixels, return_dict=True).feature_maps
        sam = self.sam.get_image_embeddings(square)
        height, width = images.shape[-2:]
        scale = max(sam[0].shape[-2:]) / max(height, width)  # masks are as fine as the finest features
        size = torch.tensor([max(1, round(height * scale)), max(1, round(width * scale))], device=images.device)
        frame = torch.tensor(pixels.shape[-2:], device=images.device)
        return {
            "size": size.expand(len(images), 2),
            "frame": frame.expand(len(images), 2),
            **{f"detector{i}": level for i, level in enumerate(detector)},
            **{f"sam{i}": level for i, level in enumerate(sam)},
        }

    @torch.no_grad()
    def decode(self, encoded: dict[str, Tensor], prompts: Sequence[str]) -> Tensor:
        """Logits [B, P, h, w]; the long side of (h, w) is that of SAM 2's masks, 256 px as published."""
        maps = []
        for prompt in prompts:
            scores, corners = self._detect(encoded, prompt)
            maps.append(
                torch.stack(
                    [self._masks(encoded, photo, scores[photo], corners[photo]) for photo in range(len(scores))]
                )
            )
        return torch.logit(torch.stack(maps, dim=1), eps=MIN_PROBABILITY)

    def _detect(self, encoded: dict[str, Tensor], prompt: str) -> tuple[Tensor, Tensor]:
        """Scores [B, Q] in descending order and corners [B, Q, 4] (x0, y0, x1, y1), fractions of the photo's sides."""
        levels = _levels(encoded, "detector")
        self.stored_features.levels = levels
        height, width = (int(value) for value in encoded["frame"][0])
        blank = levels[0].new_zeros(1, 1, 1, 1).expand(len(levels[0]), 3, height, width)  # only its shape is read
        # a phrase is lower case and ends with a full stop, as in pretraining
        phrase = prompt.lower().strip().rstrip(".") + "."
        tokens = self.detector_processor.tokenizer([phrase] * len(blank), truncation=True, return_tensors="pt").to(
            blank.device
        )
        found = self.detector(pixel_values=blank, **tokens)
        scores, order = found.logits.sigmoid().amax(dim=-1).topk(min(self.boxes, found.logits.shape[1]), dim=1)
        centres, sizes = found.pred_boxes.take_along_dim(order[..., None], dim=1).split(2, dim=-1)
        return scores, torch.cat([centres - sizes / 2, centres + sizes / 2], dim=-1)

    def _masks(self, encoded: dict[str, Tensor], photo: int, scores: Tensor, corners: Tensor) -> Tensor:
        """Probability [h, w] of a text in one photo, given its boxes: scores [Q], corners [Q, 4]."""
        size = [int(value) for value in encoded["size"][photo]]
        kept = scores > self.threshold
        if not kept.any():
            return scores.new_zeros(size)
        odds = scores[kept] / (1 - scores[kept]) * (1 - self.threshold) / self.threshold
        masks = self.sam(
            image_embeddings=[level[photo : photo + 1] for level in _levels(encoded, "sam")],
            input_boxes=(corners[kept] * self.sam_processor.target_size)[None],
            multimask_output=False,
        ).pred_masks[0]
        probability = (masks.sigmoid() * (odds / (1 + odds))[:, None, None, None]).amax(dim=0, keepdim=True)
        # to the photo's aspect ratio: the short side was stretched to a square
        return interpolate(probability, size=size, mode="bilinear", antialias=True)[0, 0]


class _StoredFeatures(nn.Module):
    """Replaces the detector's backbone: returns `levels` [B, C, h, w] with a mask without padding."""

    levels: Sequence[Tensor] = ()

    def forward(self, pixels: Tensor, mask: Tensor) -> list[tuple[Tensor, Tensor]]:
        return [
            (level, torch.ones(len(level), *level.shape[-2:], dtype=torch.bool, device=level.device))
            for level in self.levels
        ]


def _levels(encoded: dict[str, Tensor], name: str) -> list[Tensor]:
    """The entries `<name>0`, `<name>1`, … of an encoding."""
    return [encoded[f"{name}{i}"] for i in range(sum(key.startswith(name) for key in encoded))]
