"""Which photos to trust: the terms of a photo's score, how they are put together, and who is chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from halonerf.stages.choice_concepts import relative

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


def combined(values: Mapping[str, np.ndarray], combine: str, concepts: int) -> tuple[np.ndarray, np.ndarray]:
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


def best(score: np.ndarray, photos: int) -> list[int]:
    """At most `photos` photos of the highest score [V], ties in their order; 0 is never chosen."""
    order = np.argsort(-score, kind="stable")
    return [int(index) for index in order[:photos] if score[index] > 0]


def reasons(
    order: Sequence[int], score: np.ndarray, mapped: Sequence[bool], values: Mapping[str, np.ndarray]
) -> list[str]:
    """Why each photo is chosen or not, for people.

    Args:
        order: the chosen ones, in the order in which they were. score: [V]. mapped: whether the segmenter knows
            anything in the photo. values: see `term_values`.
    """
    place = {index: rank + 1 for rank, index in enumerate(order)}
    told = []
    for index, known in enumerate(mapped):
        if not known:
            told.append("nothing known in it")
        elif index in place:
            told.append(f"rank {place[index]}")
        elif score[index] <= 0:
            zero = [name for name, value in values.items() if not np.nansum(value[index]) > 0]
            told.append(f"no {' and no '.join(zero)}")
        else:
            told.append(f"behind the {len(order)} chosen")
    return told
