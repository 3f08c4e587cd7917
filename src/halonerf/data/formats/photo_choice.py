"""Photos that `segment` selected, with their scores, and weights per photo and concept.

choice.csv     photo, score, chosen (true or false), reason, and a column per score term
weights.csv    photo, concept, weight
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from halonerf.data.formats.names import CONCEPT_WEIGHTS, PHOTO_CHOICE
from halonerf.files import read_csv, write_csv


def write_photo_choice(
    folder: Path,
    names: Sequence[str],
    score: np.ndarray,
    chosen: Sequence[int],
    reasons: Sequence[str],
    terms: Mapping[str, np.ndarray],
) -> None:
    """Write `choice.csv`.

    Args:
        names: of the V photos. score: [V]. chosen: indices of the chosen photos. reasons: one per photo.
        terms: name of a score term to its values, [V].
    """
    selected = set(chosen)
    rows = [
        {"photo": name, "score": f"{score[i]:.4f}", "chosen": str(i in selected).lower(), "reason": reasons[i]}
        | {term: f"{value[i]:.4f}" for term, value in terms.items()}
        for i, name in enumerate(names)
    ]
    write_csv(folder / PHOTO_CHOICE, ("photo", "score", "chosen", "reason", *terms), rows)


def write_concept_weights(folder: Path, names: Sequence[str], concepts: Sequence[str], weights: np.ndarray) -> None:
    """Write `weights.csv`: weights [V, P] of V photos and P concepts."""
    rows = [
        {"photo": name, "concept": concept, "weight": f"{weights[i, j]:.4f}"}
        for i, name in enumerate(names)
        for j, concept in enumerate(concepts)
    ]
    write_csv(folder / CONCEPT_WEIGHTS, ("photo", "concept", "weight"), rows)


def read_photo_choice(folder: Path) -> dict[str, float]:
    """Score of every selected photo by name, in the order of the table, from a finished `segment` folder."""
    return {row["photo"]: float(row["score"]) for row in read_csv(folder / PHOTO_CHOICE) if row["chosen"] == "true"}


def read_photo_scores(folder: Path) -> dict[str, float]:
    """Score of every photo by name, selected or not."""
    return {row["photo"]: float(row["score"]) for row in read_csv(folder / PHOTO_CHOICE)}


def read_concept_weights(folder: Path) -> dict[tuple[str, str], float] | None:
    """Weight by photo and concept; None where the folder has no `weights.csv`."""
    path = folder / CONCEPT_WEIGHTS
    if not path.is_file():
        return None
    return {(row["photo"], row["concept"]): float(row["weight"]) for row in read_csv(path)}
