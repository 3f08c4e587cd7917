"""Which photos to trust: a score in [0, 1] from what the photo and the reconstruction say, before any text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

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


def scores(measures: Sequence[Mapping[str, float]]) -> np.ndarray:
    """One score a photo, [V] in [0, 1]: the geometric mean of four terms, so that no virtue makes up for a vice.

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


def choose(score: np.ndarray, mapped: Sequence[bool], photos: int) -> list[tuple[bool, str]]:
    """Whether each photo is chosen, and why: the best `photos` of those that can say something.

    Args:
        score: [V]. mapped: whether the segmenter knows anything in the photo.
    """
    order = sorted((i for i, known in enumerate(mapped) if known and score[i] > 0), key=lambda i: (-score[i], i))
    rank = {index: place + 1 for place, index in enumerate(order)}
    verdicts = []
    for index, known in enumerate(mapped):
        if not known:
            verdicts.append((False, "nothing known in it"))
        elif index not in rank:
            verdicts.append((False, "no registered point, or no usable pixel"))
        elif rank[index] > photos:
            verdicts.append((False, f"rank {rank[index]}, beyond the best {photos}"))
        else:
            verdicts.append((True, f"rank {rank[index]}"))
    return verdicts
