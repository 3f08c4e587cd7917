"""Means over photos, concepts and scenes, and how far chance in the choice of photos may move them.

A row is a photo, a concept and a method: keys `scene`, `photo`, `concept`, `method`, and a value for each figure, None
where it is not defined (it then enters no mean). A mean goes over a concept's photos, then over a scene's concepts,
then over scenes.

Intervals are percentiles of the bootstrap (Efron, 1979): a scene's photos are drawn with replacement, as many as there
are, all methods and concepts from the same draw, so that a difference of two methods is paired. They speak of other
photos of the same scenes, not of other scenes, fits or seeds.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Row = Mapping[str, Any]
Estimate = dict[str, float | None]  # mean, low, high; of a difference also positive

DRAWS = 2000
LEVEL = 0.95


def estimates(rows: Sequence[Row], figure: str = "ap", draws: int = DRAWS, seed: int = 0) -> dict[str, Any]:
    """Means and 95 % intervals of every method.

    Returns: {"concepts": {scene: {concept: {method: Estimate}}}, "scenes": {scene: {method: Estimate}}, "overall":
    {method: Estimate}}. Low and high are None where fewer than two photos have the figure.
    """
    methods = _names(rows, "method")
    concepts: dict[str, dict[str, dict[str, Estimate]]] = {}
    scenes: dict[str, dict[str, Estimate]] = {}
    means: list[NDArray[np.floating]] = []
    several: list[NDArray[np.bool_]] = []
    for scene in _names(rows, "scene"):
        names, values = _table(rows, scene, methods, figure)
        drawn = _concept_draws(values, _weights(scene, values.shape[1], draws, seed))  # [M, 1 + draws, C]
        enough = np.isfinite(values).sum(axis=1) > 1  # [M, C]
        concepts[scene] = {
            concept: {method: _estimate(drawn[m, :, c], bool(enough[m, c])) for m, method in enumerate(methods)}
            for c, concept in enumerate(names)
        }
        whole = _nanmean(drawn, axis=2)  # [M, 1 + draws]
        scenes[scene] = {method: _estimate(whole[m], bool(enough[m].any())) for m, method in enumerate(methods)}
        means.append(whole)
        several.append(np.asarray(enough.any(axis=1)))
    if not means:
        return {"concepts": {}, "scenes": {}, "overall": {}}
    overall = _nanmean(np.stack(means), axis=0)
    some = np.asarray(np.stack(several).any(axis=0))
    return {
        "concepts": concepts,
        "scenes": scenes,
        "overall": {method: _estimate(overall[m], bool(some[m])) for m, method in enumerate(methods)},
    }


def differences(
    rows: Sequence[Row], method: str, other: str, figure: str = "ap", draws: int = DRAWS, seed: int = 0
) -> dict[str, Any]:
    """`method` minus `other`, over the photos and concepts that both have the figure of.

    Returns: as `estimates`, without the level of methods; each Estimate also has `positive`, the share of draws in
    which the difference is above zero.
    """
    concepts: dict[str, dict[str, Estimate]] = {}
    scenes: dict[str, Estimate] = {}
    means: list[NDArray[np.floating]] = []
    several = False
    for scene in _names(rows, "scene"):
        names, values = _table(rows, scene, [method, other], figure)
        values[:, ~np.isfinite(values).all(axis=0)] = np.nan
        drawn = _concept_draws(values, _weights(scene, values.shape[1], draws, seed))
        enough = np.isfinite(values[0]).sum(axis=0) > 1
        gaps = drawn[0] - drawn[1]
        concepts[scene] = {name: _estimate(gaps[:, c], bool(enough[c]), True) for c, name in enumerate(names)}
        whole = _nanmean(drawn, axis=2)
        scenes[scene] = _estimate(whole[0] - whole[1], bool(enough.any()), True)
        means.append(whole)
        several = several or bool(enough.any())
    if not means:
        return {"concepts": {}, "scenes": {}, "overall": _estimate(np.full(1, np.nan), False, True)}
    overall = _nanmean(np.stack(means), axis=0)
    return {"concepts": concepts, "scenes": scenes, "overall": _estimate(overall[0] - overall[1], several, True)}


def _table(
    rows: Sequence[Row], scene: str, methods: Sequence[str], figure: str
) -> tuple[list[str], NDArray[np.floating]]:
    """A scene's concepts, and the figure by method, photo and concept: [M, N, C], NaN where there is none."""
    mine = [row for row in rows if row["scene"] == scene]
    photos, concepts = _names(mine, "photo"), _names(mine, "concept")
    values = np.full((len(methods), len(photos), len(concepts)), np.nan)
    places = [{name: i for i, name in enumerate(names)} for names in (methods, photos, concepts)]
    for row in mine:
        if row["method"] in places[0] and row[figure] is not None:
            values[places[0][row["method"]], places[1][row["photo"]], places[2][row["concept"]]] = row[figure]
    return concepts, values


def _weights(scene: str, photos: int, draws: int, seed: int) -> NDArray[np.floating]:
    """How often each photo counts: once in the first row, as drawn in the others; [1 + draws, N].

    A scene's draws do not depend on which other scenes there are.
    """
    random = np.random.default_rng([seed, zlib.crc32(scene.encode())])
    drawn = random.multinomial(photos, np.full(photos, 1 / photos), size=draws)
    return np.concatenate([np.ones((1, photos)), drawn])


def _concept_draws(values: NDArray[np.floating], weights: NDArray[np.floating]) -> NDArray[np.floating]:
    """Weighted means over photos of values [M, N, C]: [M, 1 + draws, C]; NaN where no drawn photo has a value."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (weights @ np.where(known, values, 0.0)) / (weights @ known.astype(float))


def _nanmean(values: NDArray[np.floating], axis: int) -> NDArray[np.floating]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a mean of nothing is NaN, as is said
        return np.asarray(np.nanmean(values, axis=axis))


def _estimate(values: NDArray[np.floating], enough: bool, signed: bool = False) -> Estimate:
    """Of a figure (first) and its draws; NaN among the draws are left out."""
    drawn = values[1:][np.isfinite(values[1:])]
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if enough and len(drawn) else (np.nan, np.nan)
    estimate = {"mean": _finite(values[0]), "low": _finite(low), "high": _finite(high)}
    if signed:
        estimate["positive"] = float((drawn > 0).mean()) if enough and len(drawn) else None
    return estimate


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _names(rows: Sequence[Row], key: str) -> list[str]:
    """Distinct values in the order of appearance."""
    return list(dict.fromkeys(str(row[key]) for row in rows))
