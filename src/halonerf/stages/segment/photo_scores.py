"""Which photos to trust: the terms of a photo's score, how they are put together, and who is chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from halonerf.data.scene.scene import Scene
from halonerf.prediction import ConceptPredictor, largest_building_part
from halonerf.protocols import TrainableField

PHOTO_TERMS = ("quality", "geometry", "occlusion")  # of a photo, before any text
CONCEPT_TERMS = ("certainty", "agreement")  # of a photo and a concept
GRID = 12  # cells along each side of a photo when its registered points are spread over it
CLIPPED = (8, 247)  # grey values at or beyond which a pixel is taken as black or burnt out


def photo_measures(photo: np.ndarray, valid: np.ndarray, points: np.ndarray) -> dict[str, float]:
    """What can be measured in one photo.

    Args:
        photo: [H, W, 3] uint8.
        valid: [H, W] bool, pixels that the original covers.
        points: [M, 2] px, registered points seen in it.
    Returns: `sharpness` (mean absolute Laplacian over mean absolute gradient, free of contrast), `exposure` (share
        of valid pixels that are neither black nor burnt out), `points` (how many), `cover` (share of the grid's
        cells, 12 x 12, that hold a point: how much of the frame is building that others saw too).
    """
    grey = photo.astype(np.float32).mean(axis=2)
    inner = valid[1:-1, 1:-1]
    laplacian = np.abs(grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1])
    gradient = np.abs(grey[2:, 1:-1] - grey[:-2, 1:-1]) + np.abs(grey[1:-1, 2:] - grey[1:-1, :-2])
    usable = valid & (grey > CLIPPED[0]) & (grey < CLIPPED[1])
    height, width = valid.shape
    cells = np.zeros((GRID, GRID), dtype=bool)
    if len(points):
        rows = np.clip(points[:, 1] / height * GRID, 0, GRID - 1).astype(int)
        columns = np.clip(points[:, 0] / width * GRID, 0, GRID - 1).astype(int)
        cells[rows, columns] = True
    return {
        "sharpness": float(laplacian[inner].sum() / max(1.0, gradient[inner].sum())),
        "exposure": float(usable.sum() / max(1, valid.sum())),
        "points": float(len(points)),
        "cover": float(cells.mean()),
    }


def quality(measures: Sequence[Mapping[str, float]]) -> np.ndarray:
    """One value a photo, [V] in [0, 1]: the geometric mean of four terms, so that no virtue makes up for a vice.

    Sharpness and points count against the collection's median and saturate there: a photo twice as sharp as most is
    not twice as true. Exposure and cover saturate at 0.8 and 0.4: half a frame of sky is what a good photo has.
    """
    if not measures:
        return np.zeros(0)
    table = {key: np.array([entry[key] for entry in measures]) for key in ("sharpness", "exposure", "points", "cover")}
    terms = [
        table["sharpness"] / max(1e-9, float(np.median(table["sharpness"]))),
        table["points"] / max(1.0, float(np.median(table["points"]))),
        table["exposure"] / 0.8,
        table["cover"] / 0.4,
    ]
    return np.prod([np.clip(term, 0.0, 1.0) for term in terms], axis=0) ** (1 / len(terms))


def term_values(
    terms: Sequence[str],
    photos: Sequence[Mapping[str, Any]],
    agreements: Sequence[Sequence[float | None]],
    concepts: int,
) -> dict[str, np.ndarray]:
    """Every term's value, by name: [V] of photos, [V, P] of photos and concepts (NaN where nothing is known).

    Args:
        photos: what `Segment` wrote of each. agreements: of each, one value a concept; empty where not asked for.

    Certainty and agreement count against the concept's median (`relative`). Where the others saw too little of a
    photo to say whether it agrees, nothing speaks against it: 1.
    """
    values: dict[str, np.ndarray] = {}
    for term in terms:
        if term == "quality":
            values[term] = quality(photos)
        elif term in PHOTO_TERMS:
            values[term] = np.array([photo[term] for photo in photos], np.float64)
        else:
            rows = [photo["certainty"] for photo in photos] if term == "certainty" else list(agreements)
            values[term] = relative(np.array(rows, np.float64).reshape(len(photos), concepts))
    if "agreement" in values:
        known = np.array([photo["known"] for photo in photos], bool).reshape(len(photos), concepts)
        values["agreement"] = np.where(known, np.nan_to_num(values["agreement"], nan=1.0), np.nan)
    return values


def combine_scores(values: Mapping[str, np.ndarray], combine: str, concepts: int) -> tuple[np.ndarray, np.ndarray]:
    """The score of each photo [V], and the weight of each photo and concept [V, P].

    combine: "product" or "sum" of the terms; of a photo's score, terms of concepts give their mean over the concepts
    of which it knows something (0 where it knows nothing). The weight of a concept is what the score would be if it
    were the only one; 0 where the photo knows nothing of it. Certainty counts for weights, and for the score only where
    it is the only term: maps doubt most where there is most to see.
    """
    put = np.multiply.reduce if combine == "product" else np.add.reduce
    telling = [value for term, value in values.items() if term != "certainty"] or list(values.values())
    score = put(np.stack([value if value.ndim == 1 else row_means(value) for value in telling]))
    columns = [value[:, None] if value.ndim == 1 else value for value in values.values()]
    shape = (len(score), concepts)
    return score, np.nan_to_num(put(np.stack([np.broadcast_to(column, shape) for column in columns])), nan=0.0)


def row_means(values: np.ndarray) -> np.ndarray:
    """Mean of the numbers of each row, [V]; 0 where there is none."""
    known = np.isfinite(values)
    return np.where(known, values, 0.0).sum(axis=1) / np.maximum(1, known.sum(axis=1))


USUAL = (0.1, 0.9)  # share of the photo that the building covers in a good one; the paper's


def geometry_score(building: np.ndarray) -> float:
    """How well the building sits in the frame, in [0, 1.5]: gap + [0.1 < area < 0.9].

    gap: the smallest distance from the building to a border of the photo, as a share of the side along which it is
    measured (the height for top and bottom), so that portrait and landscape photos of any size compare; 0 where it
    touches one. area: share of the photo that it covers. (HaLo-NeRF, "Choice of photos".)

    Args:
        building: bool [H, W], the largest part.
    Returns: 0 where there is no building.
    """
    if not building.any():
        return 0.0
    gaps = []
    for across, length in zip((1, 0), building.shape, strict=True):
        where = np.flatnonzero(building.any(axis=across))
        gaps += [where[0] / length, (length - 1 - where[-1]) / length]
    return float(min(gaps) + (USUAL[0] < building.mean() < USUAL[1]))


def occlusion_score(photo: np.ndarray, shown: np.ndarray, valid: np.ndarray) -> float:
    """1 - |not photo and shown| / |shown|: how much of the building that should be seen is, in [0, 1].

    (HaLo-NeRF, "Choice of photos".)

    Args:
        photo, shown: bool [H, W], the building in the photo, and in the field's rendering of its view in its light.
        valid: bool [H, W], pixels that the photo covers; others do not count.
    Returns: 0 where the rendering shows no building: nothing says that the photo does.
    """
    shown = shown & valid
    total = int(shown.sum())
    return 1.0 - int((shown & ~photo).sum()) / total if total else 0.0


FLOOR = 0.02  # of a photo's pixels, counted as right in every map: "it is not here", surely said, is an answer, too
LEAST = 0.05  # share of a photo's known pixels that others must have seen to say whether it agrees


def certainty(probability: np.ndarray, known: np.ndarray) -> list[float | None]:
    """How decided each map is, in (0, 1]: (yes + f) / (yes + f + doubt) with a small f.

    doubt: mean of 4 p (1 - p) over known pixels, 0 for a map of zeros and ones, 1 for one half everywhere. yes: mean
    of max(0, 2 p - 1)^2, what is surely claimed. Doubt therefore counts against what is claimed, not against the
    wide "no" around it, of which every map has plenty.

    Args:
        probability: [P, H, W] in [0, 1]. known: bool [P, H, W].
    Returns: None for a concept of which nothing is known.
    """
    pixels = known.sum(axis=(1, 2))
    count = np.maximum(1, pixels)
    yes = (np.square(np.clip(2 * probability - 1, 0, None)) * known).sum(axis=(1, 2)) / count + FLOOR
    doubt = (4 * probability * (1 - probability) * known).sum(axis=(1, 2)) / count
    return [float(value) if n else None for value, n in zip(yes / (yes + doubt), pixels, strict=True)]


def agreement(given: Tensor, others: Tensor, weight: Tensor, known: Tensor) -> list[float | None]:
    """Soft intersection over union of a photo's maps with what the others say of its view, in (0, 1].

    (sum w min(p, q) + f sum w) / (sum w max(p, q) + f sum w), a little f letting two maps agree that there is nothing.

    Args:
        given: p [H, W, P] in [0, 1], the photo's own. others: q [H, W, P] in [0, 1].
        weight: w [H, W, P], how far both are known. known: [H, W, P], how far the photo's own map is.
    Returns: None for a concept where others know too little of the photo.
    """
    total = weight.sum(dim=(0, 1))
    both = (weight * torch.minimum(given, others)).sum(dim=(0, 1)) + FLOOR * total
    either = (weight * torch.maximum(given, others)).sum(dim=(0, 1)) + FLOOR * total
    enough = (total >= LEAST * known.sum(dim=(0, 1))) & (total > 0)
    return [float(a / b) if seen else None for a, b, seen in zip(both, either, enough, strict=True)]


def relative(values: np.ndarray) -> np.ndarray:
    """Each photo's value [V, P] against the concept's median over photos, held in [0, 1].

    Concepts are not equally easy, so a value means something only among those of its concept; a photo better than
    most is as good as they come. NaN (nothing known) stays NaN.
    """
    known = np.isfinite(values)
    columns = zip(values.T, known.T, strict=True)
    middle = np.array([np.median(column[seen]) if seen.any() else 1.0 for column, seen in columns])
    return np.clip(values / np.maximum(middle, 1e-9), 0.0, 1.0)


@dataclass(frozen=True)
class PhotoMeasures:
    """The same for every photo.

    field: needed for the term "occlusion" alone, with the scene's cameras as it was fitted to them.
    """

    terms: tuple[str, ...]
    scene: Scene
    predictor: ConceptPredictor
    field: TrainableField | None

    def of(self, view: int, probability: np.ndarray, known: np.ndarray, building: np.ndarray | None) -> dict[str, Any]:
        """JSON types: `photo_measures`, `known` (a concept), and a value of each term that needs the pixels.

        Args:
            probability: [P, H, W] in [0, 1]. known: bool [P, H, W]. building: [H, W], its probability, if asked for.
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
            measures["occlusion"] = occlusion_score(part, self._shown(view), valid)
        return measures

    @torch.no_grad()
    def _shown(self, view: int) -> np.ndarray:
        """Where the building is in the field's picture of a view, in the light of its photo; bool [H, W]."""
        assert self.field is not None
        name, code = self.scene.names[view], self.field.appearance(self.scene.names[view])
        colour = self.field.render(self.scene.views[view].to(code.device), code).colour
        return self.predictor.building_mask(colour.clamp(0, 1).permute(2, 0, 1), name)
