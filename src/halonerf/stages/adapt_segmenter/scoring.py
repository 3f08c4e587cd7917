"""Average precision of a segmenter on landmarks with ground-truth masks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from halonerf.data.collection import Collection
from halonerf.data.formats.target_maps import photo_tensor
from halonerf.errors import BadInput
from halonerf.masks import MaskFolder, resized_mask
from halonerf.metrics import average_precision, mean_defined
from halonerf.prediction import resized_probabilities
from halonerf.visualization.pictures import outline, overlay

SMALL_SHARE = 0.02  # of a photo's pixels; a concept that covers less counts as small


@dataclass(frozen=True)
class LandmarkEvaluation:
    """Photos of a landmark with ground-truth masks."""

    name: str
    collection: Collection
    masks: MaskFolder
    photos: tuple[str, ...]
    size: int  # px, maximum long side

    @classmethod
    def open(cls, name: str, collection: Collection, max_photos: int | None, size: int) -> LandmarkEvaluation:
        """Evenly spaced photos with masks, at most `max_photos` of them.

        Raises: BadInput where the collection has no masks.
        """
        if collection.masks is None:
            raise BadInput(
                f"expected masks of '{name}' to score with, but its collection has none.\n"
                "Use landmarks with masks, or leave it out of the validation and test landmarks."
            )
        masks = MaskFolder.open(collection.masks, complete=True)
        names = [record.image_id for record in collection.records()]
        named = [n for n in names if any(masks.find(concept, n) is not None for concept in masks.concepts)]
        if max_photos is not None and len(named) > max_photos:
            named = [named[i] for i in np.linspace(0, len(named) - 1, max_photos).round().astype(int)]
        return cls(name, collection, masks, tuple(named), size)

    def photo(self, name: str) -> Tensor:
        """A photo, [3, H, W] in [0, 1]."""
        return photo_tensor(self.collection.photos / name, self.size)

    def ground_truth(self, name: str, height: int, width: int) -> dict[str, np.ndarray]:
        """The masks of a photo, bool [height, width], by concept; concepts without a mask are left out."""
        found = [concept for concept in self.masks.concepts if self.masks.find(concept, name) is not None]
        return {c: resized_mask(self.masks.read(c, name, (width, height)), height, width) for c in found}

    def scores(self, segmenter: Any, device: torch.device | str = "cpu") -> list[dict[str, Any]]:
        """One row per photo and concept in it: landmark, photo, concept, ap, share (fraction of the photo's pixels)."""
        rows = []
        for name in self.photos:
            photo = self.photo(name)
            truths = {c: truth for c, truth in self.ground_truth(name, *photo.shape[-2:]).items() if truth.any()}
            for concept, levels in zip(truths, self.maps(segmenter, photo, list(truths), device), strict=True):
                ap = average_precision(levels, truths[concept])
                share = float(truths[concept].mean())
                rows.append({"landmark": self.name, "photo": name, "concept": concept, "ap": ap, "share": share})
        return rows

    def maps(
        self, segmenter: Any, photo: Tensor, concepts: Sequence[str], device: torch.device | str = "cpu"
    ) -> np.ndarray:
        """Probabilities of the concepts in a photo [3, H, W], as uint16 [P, H, W] of 65535; unknown pixels are 0."""
        if not concepts:
            return np.zeros((0, *photo.shape[-2:]), np.uint16)
        with torch.no_grad():
            logits = segmenter.decode(segmenter.encode(photo[None].to(device)), list(concepts))
        probability, known = resized_probabilities(logits[0].float().cpu(), *photo.shape[-2:])
        return np.round((probability * known).numpy() * 65535).astype(np.uint16)

    def example_row(self, segmenters: Iterable[Any], name: str, device: torch.device | str = "cpu") -> list[np.ndarray]:
        """Pictures uint8 [H, W, 3]: a photo, then each segmenter's map of its largest concept, truth outlined."""
        photo = self.photo(name)
        pixels = (photo * 255).byte().permute(1, 2, 0).numpy()
        truths = self.ground_truth(name, *photo.shape[-2:])
        concept = max(truths, key=lambda c: truths[c].sum())
        maps = [self.maps(segmenter, photo, [concept], device)[0] / 65535 for segmenter in segmenters]
        return [pixels, *(outline(overlay(pixels, levels), truths[concept]) for levels in maps)]


def concept_means(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over photos per landmark and concept: rows landmark, concept, ap, photos, ap_small, small.

    ap_small: mean over the photos in which the concept covers less than `SMALL_SHARE`.
    """
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["landmark"], row["concept"]), []).append(row)
    table = []
    for (landmark, concept), found in groups.items():
        small = [row["ap"] for row in found if row["share"] < SMALL_SHARE]
        table.append(
            {"landmark": landmark, "concept": concept, "ap": mean_defined(row["ap"] for row in found)}
            | {"photos": len(found), "ap_small": mean_defined(small), "small": len(small)}
        )
    return table


def mean_ap(table: Sequence[dict[str, Any]], figure: str = "ap") -> float:
    """Mean of a figure over concepts, then over landmarks; NaN where none is defined."""
    landmarks = dict.fromkeys(row["landmark"] for row in table)
    return mean_defined(mean_defined(row[figure] for row in table if row["landmark"] == name) for name in landmarks)


def score_methods(
    landmarks: Sequence[LandmarkEvaluation], methods: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, float | None]]:
    """Rows of `concept_means` with their `method`, and each method's means, `<method>_ap` and `<method>_ap_small`."""
    tables = {
        method: concept_means([row for landmark in landmarks for row in landmark.scores(segmenter)])
        for method, segmenter in methods.items()
    }
    means = {
        f"{method}_{figure}": None if np.isnan(value := mean_ap(table, figure)) else round(value, 4)
        for method, table in tables.items()
        for figure in ("ap", "ap_small")
    }
    return [{"method": method, **row} for method, table in tables.items() for row in table], means


def example_rows(
    landmarks: Sequence[LandmarkEvaluation], segmenters: Sequence[Any], photos: int
) -> list[list[np.ndarray]]:
    """`LandmarkEvaluation.example_row` of at most `photos` photos of each landmark, evenly spaced."""
    picks = [
        (landmark, landmark.photos[i])
        for landmark in landmarks
        for i in np.linspace(0, len(landmark.photos) - 1, photos).round().astype(int)
    ]
    return [landmark.example_row(segmenters, name) for landmark, name in picks]
