"""What is asked of each photo: where the concepts are, and besides where the building is, and where the sky."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import find_objects, label
from torch import Tensor
from torch.nn.functional import interpolate

from halonerf.protocols import Segmenter

Prediction = tuple[Tensor, Tensor]  # probability [P, H, W] and where it is known, bool [P, H, W]


@dataclass(frozen=True)
class ConceptPredictor:
    """The same for every photo. Images are [B, 3, H, W] in [0, 1], `names` those of the photos.

    segmenter finds the concepts, finder the building. crop: whether the segmenter sees the building alone, and
    concepts are known not to be outside. sky: what it is called; None does not ask.
    """

    segmenter: Segmenter
    finder: Segmenter
    concepts: Sequence[str]
    building: str | None
    crop: bool
    sky: str | None

    def predict(self, images: Tensor, names: Sequence[str]) -> tuple[list[Prediction], list[np.ndarray]]:
        """Of each photo: where the concepts are, and the probability of the building [H, W] (none without a name)."""
        buildings = self.buildings(images, names)
        if not (buildings and self.crop):
            return predict_prompts(self.segmenter, images, names, self.concepts, self.sky), buildings
        whole = (0, 0, *images.shape[-2:])
        boxes = [building_box(building) or whole for building in buildings]
        inside = [self._inside(images[row : row + 1], names[row], box) for row, box in enumerate(boxes)]
        return inside, buildings

    def buildings(self, images: Tensor, names: Sequence[str]) -> list[np.ndarray]:
        """Of each photo, how likely the building is where, [H, W]; 0 where unknown. Empty without a name."""
        if self.building is None:
            return []
        found = predict_prompts(self.finder, images, names, [self.building])
        return [(probability * known)[0].numpy() for probability, known in found]

    def building_mask(self, image: Tensor, name: str) -> np.ndarray:
        """Where the building is in one picture [3, H, W], bool [H, W]: the largest part."""
        return largest_building_part(self.buildings(image[None], [name])[0])

    def _inside(self, image: Tensor, name: str, box: Box) -> Prediction:
        """One photo's answer, asked inside the box alone; outside, all is known not to be there."""
        top, left, bottom, right = box
        probability = torch.zeros(len(self.concepts), *image.shape[-2:])
        known = torch.ones_like(probability, dtype=torch.bool)
        inside = (slice(None), slice(top, bottom), slice(left, right))
        crop = image[:, :, top:bottom, left:right]
        probability[inside], known[inside] = predict_prompts(self.segmenter, crop, [name], self.concepts, self.sky)[0]
        return probability, known


def predict_prompts(
    segmenter: Segmenter, images: Tensor, names: Sequence[str], prompts: Sequence[str], sky: str | None = None
) -> list[Prediction]:
    """Of each image [B, 3, H, W]: probability of the prompts, less where the sky is, and where it is known."""
    asked = [*prompts, sky] if sky is not None else list(prompts)
    with torch.no_grad():
        logits = segmenter.decode(segmenter.encode(images, names=names), asked)
    answers = [resized_probabilities(maps.float().cpu(), *images.shape[-2:]) for maps in logits]
    return [subtract_sky(*answer) for answer in answers] if sky is not None else answers


def resized_probabilities(logits: Tensor, height: int, width: int) -> Prediction:
    """Probabilities [P, height, width] of logits [P, h, w] and where they are known: NaN says unknown.

    A pixel is known when everything that it is interpolated from is.
    """
    probability, known = torch.sigmoid(torch.nan_to_num(logits)), ~torch.isnan(logits)
    if logits.shape[-2:] != (height, width):
        probability = interpolate(probability[None], size=(height, width), mode="bilinear", align_corners=False)[0]
        share = interpolate(known[None].float(), size=(height, width), mode="bilinear", align_corners=False)[0]
        known = share > 1 - 1e-4
    return probability, known


CERTAIN = 0.5  # probability from which a pixel is building; the paper's
MARGIN = 0.1  # of the box's height and width, added on each side; the paper's
SMALLEST = 0.01  # share of the photo; a smaller spot is no building that somebody photographed

Box = tuple[int, int, int, int]  # top, left, bottom, right in pixels; the last two are the first beyond


def largest_building_part(probability: np.ndarray) -> np.ndarray:
    """The largest connected part of a map [H, W] that is building, bool [H, W]; the first of equal ones."""
    parts, count = label(probability > CERTAIN)
    if not count:
        return np.zeros(probability.shape, dtype=bool)
    return parts == 1 + int(np.bincount(parts.ravel())[1:].argmax())


def building_box(probability: np.ndarray) -> Box | None:
    """The box around the largest connected part of a map [H, W] that is building, with its margin, inside the photo.

    None where there is none worth cropping to. (HaLo-NeRF, "2D inference".)
    """
    height, width = probability.shape
    part = largest_building_part(probability)
    if part.sum() < max(1, SMALLEST * height * width):
        return None
    rows, columns = find_objects(part.astype(np.int8))[0]
    tall, wide = (math.ceil(MARGIN * (side.stop - side.start)) for side in (rows, columns))
    return (
        max(0, rows.start - tall),
        max(0, columns.start - wide),
        min(height, rows.stop + tall),
        min(width, columns.stop + wide),
    )


def subtract_sky(probability: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Concepts [P, H, W] without the last map, the sky's, which takes its share of each: p (1 - sky).

    Where the sky is unknown the concepts stay as they are.
    """
    sky = probability[-1] * known[-1]
    return probability[:-1] * (1 - sky), known[:-1]
