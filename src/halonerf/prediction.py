"""Probability maps of text prompts in photos, with cropping to the building and subtraction of the sky."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import find_objects, label
from torch import Tensor
from torch.nn.functional import interpolate

from halonerf.protocols import Segmenter, TaughtSegmenter

Prediction = tuple[Tensor, Tensor]  # probability [P, H, W] in [0, 1], and where it is known, bool [P, H, W]


@dataclass(frozen=True)
class ConceptPredictor:
    """Predicts the concepts' maps in photos: images [B, 3, H, W] in [0, 1] with their names.

    segmenter: of the concepts. finder: segmenter of the building. building: its prompt; None: not segmented.
    crop: whether the segmenter gets the photo cropped to the building, and probabilities outside are 0 and known.
    sky: prompt of the sky, whose probability is subtracted (`subtract_sky`); None: not segmented.
    """

    segmenter: Segmenter
    finder: Segmenter
    concepts: Sequence[str]
    building: str | None
    crop: bool
    sky: str | None

    def predict(self, images: Tensor, names: Sequence[str]) -> tuple[list[Prediction], list[np.ndarray]]:
        """For each photo its prediction [P, H, W], and the building's probability [H, W] (empty list without one)."""
        buildings = self.buildings(images, names)
        if not (buildings and self.crop):
            return predict_prompts(self.segmenter, images, names, self.concepts, self.sky), buildings
        whole = (0, 0, *images.shape[-2:])
        boxes = [building_box(building) or whole for building in buildings]
        inside = [self._inside(images[row : row + 1], names[row], box) for row, box in enumerate(boxes)]
        return inside, buildings

    def buildings(self, images: Tensor, names: Sequence[str]) -> list[np.ndarray]:
        """Probability of the building [H, W] in each photo, 0 where unknown; an empty list without a building."""
        if self.building is None:
            return []
        found = predict_prompts(self.finder, images, names, [self.building])
        return [(probability * known)[0].numpy() for probability, known in found]

    def building_mask(self, image: Tensor, name: str) -> np.ndarray:
        """Mask of the building in one image [3, H, W], bool [H, W]: the largest connected part."""
        return largest_building_part(self.buildings(image[None], [name])[0])

    def _inside(self, image: Tensor, name: str, box: Box) -> Prediction:
        """Prediction of one photo [1, 3, H, W], computed inside the box; outside, probabilities are 0 and known."""
        top, left, bottom, right = box
        probability = torch.zeros(len(self.concepts), *image.shape[-2:])
        known = torch.ones_like(probability, dtype=torch.bool)
        inside = (slice(None), slice(top, bottom), slice(left, right))
        crop = image[:, :, top:bottom, left:right]
        probability[inside], known[inside] = predict_prompts(self.segmenter, crop, [name], self.concepts, self.sky)[0]
        return probability, known


def untaught_notes(segmenter: Segmenter, prompts: Sequence[str]) -> list[str]:
    """A warning for each text prompt that a `TaughtSegmenter` was not taught; none from other segmenters."""
    if not isinstance(segmenter, TaughtSegmenter):
        return []
    return [
        f"'{prompt}': this segmenter was never taught the word, so that what it finds means little. "
        f"Words it was taught: {', '.join(nearest)}"
        for prompt, nearest in segmenter.untaught(prompts).items()
    ]


def predict_prompts(
    segmenter: Segmenter, images: Tensor, names: Sequence[str], prompts: Sequence[str], sky: str | None = None
) -> list[Prediction]:
    """Predictions of the prompts [P, H, W] in each image [B, 3, H, W] in [0, 1]; sky: as of `ConceptPredictor`."""
    if not prompts:
        nothing = torch.zeros(0, *images.shape[-2:])
        return [(nothing, nothing.bool()) for _ in images]
    queried = [*prompts, sky] if sky is not None else list(prompts)
    with torch.no_grad():
        logits = segmenter.decode(segmenter.encode(images, names=names), queried)
    predictions = [resized_probabilities(maps.float().cpu(), *images.shape[-2:]) for maps in logits]
    return [subtract_sky(*prediction) for prediction in predictions] if sky is not None else predictions


def resized_probabilities(logits: Tensor, height: int, width: int) -> Prediction:
    """Probabilities [P, height, width] of logits [P, h, w], and where they are known (bool); a NaN logit is unknown.

    A pixel is known where all pixels that it is interpolated from are.
    """
    probability, known = torch.sigmoid(torch.nan_to_num(logits)), ~torch.isnan(logits)
    if logits.shape[-2:] != (height, width):
        probability = interpolate(probability[None], size=(height, width), mode="bilinear", align_corners=False)[0]
        share = interpolate(known[None].float(), size=(height, width), mode="bilinear", align_corners=False)[0]
        known = share > 1 - 1e-4
    return probability, known


MIN_BUILDING_PROBABILITY = 0.5  # of a pixel of the building; the paper's
BOX_MARGIN = 0.1  # of the box's height and width, added on each side; the paper's
MIN_BUILDING_SHARE = 0.01  # of the photo; a smaller part is not the building that was photographed

Box = tuple[int, int, int, int]  # top, left, bottom, right in pixels; the last two are the first beyond


def largest_building_part(probability: np.ndarray) -> np.ndarray:
    """Largest connected part of the building in its probability map [H, W], bool [H, W]; of equal ones the first."""
    parts, count = label(probability > MIN_BUILDING_PROBABILITY)
    if not count:
        return np.zeros(probability.shape, dtype=bool)
    return parts == 1 + int(np.bincount(parts.ravel())[1:].argmax())


def building_box(probability: np.ndarray) -> Box | None:
    """Bounding box with margin of the building's largest connected part in its probability map [H, W].

    None where the part covers less than `MIN_BUILDING_SHARE`. (HaLo-NeRF, "2D inference".)
    """
    height, width = probability.shape
    part = largest_building_part(probability)
    if part.sum() < max(1, MIN_BUILDING_SHARE * height * width):
        return None
    rows, columns = find_objects(part.astype(np.int8))[0]
    vertical, horizontal = (math.ceil(BOX_MARGIN * (side.stop - side.start)) for side in (rows, columns))
    return (
        max(0, rows.start - vertical),
        max(0, columns.start - horizontal),
        min(height, rows.stop + vertical),
        min(width, columns.stop + horizontal),
    )


def subtract_sky(probability: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Multiply the concepts' probabilities by 1 - sky, given [P + 1, H, W] with the sky as the last map: [P, H, W].

    Where the sky is unknown the concepts do not change.
    """
    sky = probability[-1] * known[-1]
    return probability[:-1] * (1 - sky), known[:-1]
