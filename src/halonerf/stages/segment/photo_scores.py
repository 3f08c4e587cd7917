"""Scores of photos: the terms, their normalisation over the collection, and their combination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from halonerf.data.scene.scene import Scene
from halonerf.prediction import ConceptPredictor, largest_building_part
from halonerf.protocols import TrainableField

PHOTO_TERMS = ("quality", "geometry", "occlusion")  # one value per photo
CONCEPT_TERMS = ("certainty", "agreement")  # one value per photo and concept
ScoreTerm = Literal["quality", "geometry", "occlusion", "certainty", "agreement"]
COVER_CELLS = 12  # along each side of a photo, in which registered points are counted
CLIPPED_GREY = (8, 247)  # grey values at or beyond which a pixel counts as black or overexposed


def photo_measures(photo: np.ndarray, valid: np.ndarray, points: np.ndarray) -> dict[str, float]:
    """Image quality measures of one photo.

    Args:
        photo: [H, W, 3] uint8.
        valid: [H, W] bool, pixels that the original photo covers.
        points: [M, 2] px, registered points observed in it.
    Returns: `sharpness` (mean absolute Laplacian over mean absolute gradient, independent of contrast), `exposure`
        (fraction of valid pixels that are neither black nor overexposed), `points` (their number), `cover` (fraction
        of the cells of a 12 x 12 grid that contain a point: how much of the frame shows what other photos show).
    """
    grey = photo.astype(np.float32).mean(axis=2)
    inner = valid[1:-1, 1:-1]
    laplacian = np.abs(grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1])
    gradient = np.abs(grey[2:, 1:-1] - grey[:-2, 1:-1]) + np.abs(grey[1:-1, 2:] - grey[1:-1, :-2])
    usable = valid & (grey > CLIPPED_GREY[0]) & (grey < CLIPPED_GREY[1])
    height, width = valid.shape
    cells = np.zeros((COVER_CELLS, COVER_CELLS), dtype=bool)
    if len(points):
        rows = np.clip(points[:, 1] / height * COVER_CELLS, 0, COVER_CELLS - 1).astype(int)
        columns = np.clip(points[:, 0] / width * COVER_CELLS, 0, COVER_CELLS - 1).astype(int)
        cells[rows, columns] = True
    return {
        "sharpness": float(laplacian[inner].sum() / max(1.0, gradient[inner].sum())),
        "exposure": float(usable.sum() / max(1, valid.sum())),
        "points": float(len(points)),
        "cover": float(cells.mean()),
    }


def quality(measures: Sequence[Mapping[str, float]], fitted: np.ndarray | None = None) -> np.ndarray:
    """Quality of each photo, [V] in [0, 1]: geometric mean of four terms, so that a high one cannot offset a low one.

    Sharpness and points are relative to the fitted photos' median and saturate there: twice the sharpness is not twice
    the value. Exposure and cover saturate at 0.8 and 0.4: half a frame of sky is normal for a good photo.

    Args:
        measures: `photo_measures` of each of V photos.
        fitted: bool [V], the photos whose medians are taken; None: all.
    """
    if not measures:
        return np.zeros(0)
    table = {key: np.array([entry[key] for entry in measures]) for key in ("sharpness", "exposure", "points", "cover")}
    reference = slice(None) if fitted is None or not fitted.any() else fitted
    terms = [
        table["sharpness"] / max(1e-9, float(np.median(table["sharpness"][reference]))),
        table["points"] / max(1.0, float(np.median(table["points"][reference]))),
        table["exposure"] / 0.8,
        table["cover"] / 0.4,
    ]
    return np.prod([np.clip(term, 0.0, 1.0) for term in terms], axis=0) ** (1 / len(terms))


def term_values(
    terms: Sequence[str],
    photos: Sequence[Mapping[str, Any]],
    agreements: Sequence[Sequence[float | None]],
    concepts: int,
    fitted: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Values of the score terms by name: [V] of photos, [V, P] of photos and concepts (NaN where nothing is known).

    Certainty and agreement are relative to the concept's median (`relative`). Where the other photos show too little of
    a photo to compute its agreement, that is 1. A photo's values depend on itself and on the fitted photos alone.

    Args:
        photos: `PhotoMeasures.of` of each photo. agreements: of each, one value per concept; empty where the term is
            not used. concepts: their number, P. fitted: bool [V], the photos whose medians are taken; None: all.
    """
    values: dict[str, np.ndarray] = {}
    for term in terms:
        if term == "quality":
            values[term] = quality(photos, fitted)
        elif term in PHOTO_TERMS:
            values[term] = np.array([photo[term] for photo in photos], np.float64)
        else:
            rows = [photo["certainty"] for photo in photos] if term == "certainty" else list(agreements)
            values[term] = relative(np.array(rows, np.float64).reshape(len(photos), concepts), fitted)
    if "agreement" in values:
        known = np.array([photo["known"] for photo in photos], bool).reshape(len(photos), concepts)
        values["agreement"] = np.where(known, np.nan_to_num(values["agreement"], nan=1.0), np.nan)
    return values


def combine_scores(values: Mapping[str, np.ndarray], combine: str, concepts: int) -> tuple[np.ndarray, np.ndarray]:
    """The score of each photo [V], and the weight of each photo and concept [V, P].

    A photo's score is the product or sum of its terms, where a term of concepts enters by its mean over the concepts
    that are known in the photo (0 where none is). The weight of a concept is the score if it were the only one; 0 where
    it is unknown in the photo. Certainty enters the weights, and the score only where it is the only term: maps are
    least certain where there is most to see.

    Args:
        values: see `term_values`. combine: "product" or "sum". concepts: their number, P.
    """
    reduce = np.multiply.reduce if combine == "product" else np.add.reduce
    scoring = [value for term, value in values.items() if term != "certainty"] or list(values.values())
    if not concepts:  # terms of concepts say nothing
        scoring = [value for value in scoring if value.ndim == 1] or [np.ones(len(scoring[0]))]
    score = reduce(np.stack([value if value.ndim == 1 else row_means(value) for value in scoring]))
    columns = [value[:, None] if value.ndim == 1 else value for value in values.values()]
    shape = (len(score), concepts)
    return score, np.nan_to_num(reduce(np.stack([np.broadcast_to(column, shape) for column in columns])), nan=0.0)


def row_means(values: np.ndarray) -> np.ndarray:
    """Mean of the finite values of each row of [V, P]: [V]; 0 where there is none."""
    known = np.isfinite(values)
    return np.where(known, values, 0.0).sum(axis=1) / np.maximum(1, known.sum(axis=1))


AREA_RANGE = (0.1, 0.9)  # share of a good photo that the building covers; the paper's


def geometry_score(building: np.ndarray) -> float:
    """How well the building is framed, in [0, 1.5]: gap + [0.1 < area < 0.9] (HaLo-NeRF, "Choice of photos").

    gap: smallest distance from the building to a border of the photo, as a fraction of the side along which it is
    measured (the height for top and bottom), so that photos of any size and orientation compare; 0 where it touches
    one. area: fraction of the photo that it covers.

    Args:
        building: bool [H, W], the largest connected part.
    Returns: 0 where there is no building.
    """
    if not building.any():
        return 0.0
    gaps = []
    for across, length in zip((1, 0), building.shape, strict=True):
        where = np.flatnonzero(building.any(axis=across))
        gaps += [where[0] / length, (length - 1 - where[-1]) / length]
    return float(min(gaps) + (AREA_RANGE[0] < building.mean() < AREA_RANGE[1]))


def occlusion_score(photo: np.ndarray, rendered: np.ndarray, valid: np.ndarray) -> float:
    """Visible fraction of the building, 1 - |rendered and not photo| / |rendered|, in [0, 1].

    (HaLo-NeRF, "Choice of photos".)

    Args:
        photo, rendered: bool [H, W], the building in the photo, and in the field's rendering of its view with the
            photo's appearance code.
        valid: bool [H, W], pixels that the photo covers; others do not count.
    Returns: 0 where the rendering shows no building.
    """
    rendered = rendered & valid
    total = int(rendered.sum())
    return 1.0 - int((rendered & ~photo).sum()) / total if total else 0.0


AGREED_SHARE = 0.02  # of a photo's pixels, counted as correct in every map, so that a confident "not here" counts
MIN_SEEN_SHARE = 0.05  # of a photo's known pixels that other photos must show to compute its agreement


def certainty(probability: np.ndarray, known: np.ndarray) -> list[float | None]:
    """Certainty of each concept's map, in (0, 1]: (positive + f) / (positive + f + doubt) with a small f.

    doubt: mean of 4 p (1 - p) over known pixels, 0 for a map of zeros and ones, 1 for one half everywhere. positive:
    mean of max(0, 2 p - 1)^2, the confident detections. Doubt is thus relative to the detections, not to the large
    negative area around them, which every map has.

    Args:
        probability: [P, H, W] in [0, 1]. known: bool [P, H, W].
    Returns: one value per concept; None where nothing is known.
    """
    pixels = known.sum(axis=(1, 2))
    count = np.maximum(1, pixels)
    positive = (np.square(np.clip(2 * probability - 1, 0, None)) * known).sum(axis=(1, 2)) / count + AGREED_SHARE
    doubt = (4 * probability * (1 - probability) * known).sum(axis=(1, 2)) / count
    return [float(value) if n else None for value, n in zip(positive / (positive + doubt), pixels, strict=True)]


def agreement(given: Tensor, others: Tensor, weight: Tensor, known: Tensor) -> list[float | None]:
    """Soft intersection over union, in (0, 1], of a photo's maps with the other photos' prediction of its view.

    (sum w min(p, q) + f sum w) / (sum w max(p, q) + f sum w); the small f lets two empty maps agree.

    Args:
        given: p [H, W, P] in [0, 1], the photo's own. others: q [H, W, P] in [0, 1].
        weight: w [H, W, P] in [0, 1], how far both are known. known: [H, W, P] in [0, 1], how far the photo's own is.
    Returns: one value per concept; None where the other photos show too little of it.
    """
    total = weight.sum(dim=(0, 1))
    both = (weight * torch.minimum(given, others)).sum(dim=(0, 1)) + AGREED_SHARE * total
    either = (weight * torch.maximum(given, others)).sum(dim=(0, 1)) + AGREED_SHARE * total
    enough = (total >= MIN_SEEN_SHARE * known.sum(dim=(0, 1))) & (total > 0)
    return [float(a / b) if seen else None for a, b, seen in zip(both, either, enough, strict=True)]


def relative(values: np.ndarray, fitted: np.ndarray | None = None) -> np.ndarray:
    """Values [V, P] divided by the concept's median over photos, clipped to [0, 1]; NaN (unknown) stays NaN.

    Concepts differ in difficulty, so values compare only within a concept; above the median all photos count the same.

    fitted: bool [V], the photos whose median is taken; None, or where there are none: all.
    """
    reference = values if fitted is None or not fitted.any() else values[fitted]
    columns = zip(reference.T, np.isfinite(reference).T, strict=True)
    middle = np.array([np.median(column[seen]) if seen.any() else 1.0 for column, seen in columns])
    return np.clip(values / np.maximum(middle, 1e-9), 0.0, 1.0)


@dataclass(frozen=True)
class PhotoMeasures:
    """Measures of a photo for the score `terms`.

    field: needed for the term "occlusion" only, with the scene's cameras that it was fitted to.
    """

    terms: tuple[str, ...]
    scene: Scene
    predictor: ConceptPredictor
    field: TrainableField | None

    def of(self, view: int, probability: np.ndarray, known: np.ndarray, building: np.ndarray | None) -> dict[str, Any]:
        """Measures of a view as JSON types: `photo_measures`, `known` per concept, and the terms that need pixels.

        Args:
            probability: [P, H, W] in [0, 1]. known: bool [P, H, W]. building: its probability [H, W], if segmented.
        """
        valid = self.scene.valid(view).numpy()
        pixels = self.scene.observations(view)[0].numpy().reshape(-1, 2)
        measures: dict[str, Any] = {
            "known": known.any(axis=(1, 2)).tolist(),
            **photo_measures(self.scene.photo(view).numpy(), valid, pixels),
        }
        if "certainty" in self.terms:
            measures["certainty"] = certainty(probability, known)
        part = None if building is None else largest_building_part(building * valid)
        if part is not None and "geometry" in self.terms:
            measures["geometry"] = geometry_score(part)
        if part is not None and "occlusion" in self.terms:
            measures["occlusion"] = occlusion_score(part, self._rendered_building(view), valid)
        return measures

    @torch.no_grad()
    def _rendered_building(self, view: int) -> np.ndarray:
        """Mask of the building in the field's rendering of a view with its photo's appearance; bool [H, W]."""
        assert self.field is not None
        name, code = self.scene.names[view], self.field.appearance(self.scene.names[view])
        colour = self.field.render(self.scene.views[view].to(code.device), code).colour
        return self.predictor.building_mask(colour.clamp(0, 1).permute(2, 0, 1), name)
