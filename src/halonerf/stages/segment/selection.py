"""Selection of photos by score, or greedily so that they cover the building's points together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy.sparse import csr_matrix

from halonerf.errors import BadInput
from halonerf.stages.segment.photo_scores import CONCEPT_TERMS, PHOTO_TERMS


def select_top(score: np.ndarray, max_photos: int) -> list[int]:
    """Indices of the at most `max_photos` highest scores [V], ties in their order; a score of 0 is never selected."""
    order = np.argsort(-score, kind="stable")
    return [int(index) for index in order[:max_photos] if score[index] > 0]


def split_budget(max_photos: int, fitted: np.ndarray) -> tuple[int, int]:
    """How many of at most `max_photos` selected photos are fitted ones, and how many held-out ones, by their numbers.

    The two are selected apart, so that no held-out photo takes the place of a fitted one. fitted: bool [V].
    """
    most = min(max_photos, len(fitted))
    held_out = round(most * float((~fitted).mean())) if len(fitted) else 0
    fits = min(int(fitted.sum()), max(1, most - held_out))
    return fits, most - fits


def explain(
    order: Sequence[int], score: np.ndarray, mapped: Sequence[bool], values: Mapping[str, np.ndarray]
) -> list[str]:
    """The reason why each photo is selected or not, as text for users.

    Args:
        order: selected photos, in order of selection. score: [V]. mapped: whether anything is known in each photo.
        values: see `term_values`.
    """
    place = {index: rank + 1 for rank, index in enumerate(order)}
    reasons = []
    for index, known in enumerate(mapped):
        if not known:
            reasons.append("no concept known in it")
        elif index in place:
            reasons.append(f"rank {place[index]}")
        elif score[index] <= 0:
            zero = [name for name, value in values.items() if not np.nansum(value[index]) > 0]
            reasons.append(f"no {' and no '.join(zero)}")
        else:
            reasons.append(f"lower than the {len(order)} selected")
    return reasons


REPEAT_FACTOR = 0.5  # on a point's value for each selected photo that shows it


def incidence(seen: Iterable[np.ndarray], points: int) -> csr_matrix:
    """Sparse matrix [V, points], 1 where a photo observes a point; seen: indices of each photo's points."""
    rows = [np.unique(which) for which in seen]
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    columns = np.concatenate(rows).astype(np.int64) if rows else np.zeros(0, np.int64)
    return csr_matrix((np.ones(len(columns)), columns, starts), shape=(len(rows), points))


def select_for_coverage(score: np.ndarray, sees: csr_matrix, max_photos: int) -> list[int]:
    """Greedy selection of at most `max_photos` photos, each with the largest gain over those before it.

    The gain of a photo is its score times the sum over its points of 0.5^(number of selected photos that show the
    point). Of equal gains the first photo is taken; a gain of 0 ends the selection. The objective is submodular, so
    that the greedy selection reaches at least 1 - 1/e of the optimum (Nemhauser, Wolsey and Fisher, 1978).

    Args:
        score: [V], non-negative.
        sees: [V, N], see `incidence`.
    """
    value = np.ones(sees.shape[1])
    left = np.asarray(score, np.float64).copy()
    chosen: list[int] = []
    for _ in range(min(max_photos, len(left))):
        gain = left * (sees @ value)
        best = int(gain.argmax())
        if gain[best] <= 0:
            break
        chosen.append(best)
        left[best] = 0.0
        value[sees.indices[sees.indptr[best] : sees.indptr[best + 1]]] *= REPEAT_FACTOR
    return chosen


def check_options(
    score_terms: Sequence[str], combine: str, selection: str, agreement_size: int, building: str | None, crop: bool
) -> None:
    """Raises: BadInput for options of `Segment` that are unknown, need another one, or would have no effect."""
    every = (*PHOTO_TERMS, *CONCEPT_TERMS)
    if not score_terms or len(set(score_terms)) < len(score_terms) or not set(score_terms) <= set(every):
        raise BadInput(
            f"expected segment.score_terms=[…] with one or more of {', '.join(every)}, got {list(score_terms)}"
        )
    if combine not in ("product", "sum"):
        raise BadInput(f"expected segment.combine=product or sum, got '{combine}'")
    if selection not in ("best", "coverage"):
        raise BadInput(f"expected segment.selection=best or coverage, got '{selection}'")
    if agreement_size < 1:
        raise BadInput(f"expected segment.agreement_size of at least 1 px, got {agreement_size}")
    building_terms = sorted({"geometry", "occlusion"} & set(score_terms))
    if building_terms and building is None:
        raise BadInput(
            f"expected the building's text prompt for the term {' and '.join(building_terms)}, got none.\n"
            "Set a word that the segmenter knows: segment.building=cathedral"
        )
    if building is not None and not building_terms and not crop:
        raise BadInput(
            f"expected a use for segment.building={building}, but segment.crop=false and no term needs it.\n"
            "Leave it out, or add segment.score_terms=[quality,geometry]"
        )
