"""The options and the tables of the choice of photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from halonerf.data.collection import write_csv
from halonerf.errors import BadInput
from halonerf.stages.choice import CONCEPT_TERMS, PHOTO_TERMS, row_means


def check_options(
    terms: Sequence[str], combine: str, select: str, agreement_size: int, building: str | None, crop: bool
) -> None:
    """Raises: BadInput for options of `Segment` that are unknown, that lack another, or that nothing would use."""
    every = (*PHOTO_TERMS, *CONCEPT_TERMS)
    if not terms or len(set(terms)) < len(terms) or not set(terms) <= set(every):
        raise BadInput(f"expected segment.terms=[…] with one or more of {', '.join(every)}, got {list(terms)}")
    if combine not in ("product", "sum"):
        raise BadInput(f"expected segment.combine=product or sum, got '{combine}'")
    if select not in ("best", "coverage"):
        raise BadInput(f"expected segment.select=best or coverage, got '{select}'")
    if agreement_size < 1:
        raise BadInput(f"expected segment.agreement_size of at least 1 px, got {agreement_size}")
    asking = sorted({"geometry", "occlusion"} & set(terms))
    if asking and building is None:
        raise BadInput(
            f"expected the building's name for the term {' and '.join(asking)}, got none.\n"
            "Say what it is, in words that the segmenter knows: segment.building=cathedral"
        )
    if building is not None and not asking and not crop:
        raise BadInput(
            f"expected a use for segment.building={building}, but segment.crop=false and no term asks where it is.\n"
            "Leave it out, or add segment.terms=[quality,geometry]"
        )


def write_choice(
    folder: Path,
    names: Sequence[str],
    concepts: Sequence[str],
    score: np.ndarray,
    chosen: Sequence[int],
    reasons: Sequence[str],
    values: Mapping[str, np.ndarray],
    weights: np.ndarray,
) -> None:
    """`choice.csv` and `weights.csv`.

    Args:
        score: [V]. values: of each term, [V], or [V, P] of which the mean over concepts is written. weights: [V, P].
    """
    columns = {term: value if value.ndim == 1 else row_means(value) for term, value in values.items()}
    rows = [
        {"photo": name, "score": f"{score[i]:.4f}", "chosen": str(i in set(chosen)).lower(), "reason": reasons[i]}
        | {term: f"{value[i]:.4f}" for term, value in columns.items()}
        for i, name in enumerate(names)
    ]
    write_csv(folder / "choice.csv", ("photo", "score", "chosen", "reason", *columns), rows)
    said = [
        {"photo": name, "concept": concept, "weight": f"{weights[i, j]:.4f}"}
        for i, name in enumerate(names)
        for j, concept in enumerate(concepts)
    ]
    write_csv(folder / "weights.csv", ("photo", "concept", "weight"), said)
