"""Photos that together show as much of the building as they can: no second copy of what is well covered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy.sparse import csr_matrix

from halonerf.errors import BadInput
from halonerf.stages.segment.photo_scores import CONCEPT_TERMS, PHOTO_TERMS


def select_top(score: np.ndarray, photos: int) -> list[int]:
    """At most `photos` photos of the highest score [V], ties in their order; 0 is never chosen."""
    order = np.argsort(-score, kind="stable")
    return [int(index) for index in order[:photos] if score[index] > 0]


def explain(
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


AGAIN = 0.5  # what a point is worth that one chosen photo more shows already: the third look at it is worth a quarter


def incidence(seen: Iterable[np.ndarray], points: int) -> csr_matrix:
    """Which photo saw which point, [V, points] of zeros and ones, from each photo's points."""
    rows = [np.unique(which) for which in seen]
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    columns = np.concatenate(rows).astype(np.int64) if rows else np.zeros(0, np.int64)
    return csr_matrix((np.ones(len(columns)), columns, starts), shape=(len(rows), points))


def select_for_coverage(score: np.ndarray, sees: csr_matrix, photos: int) -> list[int]:
    """At most `photos` photos, each the one that adds most to those before it; photos that add nothing are left out.

    What a photo adds is its score times the sum over the points that it shows of 0.5^(chosen photos that show it).
    Of equals, the first is taken. The sum that is made greatest is submodular, so that the greedy choice has at least
    1 - 1/e of the best one's (Nemhauser, Wolsey and Fisher, 1978).

    Args:
        score: [V], non-negative; 0 is never chosen.
        sees: [V, N], see `incidence`.
    """
    worth = np.ones(sees.shape[1])
    left = np.asarray(score, np.float64).copy()
    chosen: list[int] = []
    for _ in range(min(photos, len(left))):
        gain = left * (sees @ worth)
        best = int(gain.argmax())
        if gain[best] <= 0:
            break
        chosen.append(best)
        left[best] = 0.0
        worth[sees.indices[sees.indptr[best] : sees.indptr[best + 1]]] *= AGAIN
    return chosen


def check_options(
    terms: Sequence[str], combine: str, select: str, agreement_size: int, building: str | None, crop: bool
) -> None:
    """Raises: BadInput for options of `Segment` that are unknown, that lack another, or that nothing would use."""
    every = (*PHOTO_TERMS, *CONCEPT_TERMS)
    if not terms or len(set(terms)) < len(terms) or not set(terms) <= set(every):
        raise BadInput(f"expected segment.score_terms=[…] with one or more of {', '.join(every)}, got {list(terms)}")
    if combine not in ("product", "sum"):
        raise BadInput(f"expected segment.combine=product or sum, got '{combine}'")
    if select not in ("best", "coverage"):
        raise BadInput(f"expected segment.selection=best or coverage, got '{select}'")
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
            "Leave it out, or add segment.score_terms=[quality,geometry]"
        )
