"""Means over photos, concepts and scenes with bootstrap confidence intervals over photos.

A row is a photo, a concept and a method: keys `scene`, `photo`, `concept`, `method`, and a value of each metric, None
where it is not defined (it then enters no mean). A mean is taken over a concept's photos, then over a scene's concepts,
then over scenes.

Intervals are percentiles of the bootstrap (Efron, 1979): a scene's photos are drawn with replacement, as many as there
are, the same draw for all methods and concepts, so that a difference of two methods is paired. They describe the
variation over photos of the same scenes, not over scenes, fits or seeds.
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
CONFIDENCE_LEVEL = 0.95


def estimates(rows: Sequence[Row], metric: str = "ap", draws: int = DRAWS, seed: int = 0) -> dict[str, Any]:
    """Means and 95 % confidence intervals of every method.

    Returns: {"concepts": {scene: {concept: {method: Estimate}}}, "scenes": {scene: {method: Estimate}}, "overall":
    {method: Estimate}}. Low and high are None where fewer than two photos have the metric.
    """
    methods = _names(rows, "method")
    concepts: dict[str, dict[str, dict[str, Estimate]]] = {}
    scenes: dict[str, dict[str, Estimate]] = {}
    means: list[NDArray[np.floating]] = []
    several: list[NDArray[np.bool_]] = []
    for scene in _names(rows, "scene"):
        names, values = _table(rows, scene, methods, metric)
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
    rows: Sequence[Row], method: str, other: str, metric: str = "ap", draws: int = DRAWS, seed: int = 0
) -> dict[str, Any]:
    """Paired difference of means, `method` minus `other`, over the photos and concepts for which both are defined.

    Returns: as `estimates`, without the level of methods; each Estimate also has `positive`, the share of draws with a
    difference above zero.
    """
    concepts: dict[str, dict[str, Estimate]] = {}
    scenes: dict[str, Estimate] = {}
    means: list[NDArray[np.floating]] = []
    several = False
    for scene in _names(rows, "scene"):
        names, values = _table(rows, scene, [method, other], metric)
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
    rows: Sequence[Row], scene: str, methods: Sequence[str], metric: str
) -> tuple[list[str], NDArray[np.floating]]:
    """A scene's concepts, and the metric by method, photo and concept: [M, N, C], NaN where not defined."""
    mine = [row for row in rows if row["scene"] == scene]
    photos, concepts = _names(mine, "photo"), _names(mine, "concept")
    values = np.full((len(methods), len(photos), len(concepts)), np.nan)
    places = [{name: i for i, name in enumerate(names)} for names in (methods, photos, concepts)]
    for row in mine:
        if row["method"] in places[0] and row[metric] is not None:
            values[places[0][row["method"]], places[1][row["photo"]], places[2][row["concept"]]] = row[metric]
    return concepts, values


def _weights(scene: str, photos: int, draws: int, seed: int) -> NDArray[np.floating]:
    """Weight of each photo in each draw, [1 + draws, N]: 1 in the first row, how often it was drawn in the others.

    A scene's draws do not depend on the other scenes.
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
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of no values is NaN, as intended
        return np.asarray(np.nanmean(values, axis=axis))


def _estimate(values: NDArray[np.floating], enough: bool, signed: bool = False) -> Estimate:
    """Mean and interval from the mean (first) and its bootstrap draws, without draws that are NaN."""
    drawn = values[1:][np.isfinite(values[1:])]
    low, high = (
        np.quantile(drawn, [(1 - CONFIDENCE_LEVEL) / 2, (1 + CONFIDENCE_LEVEL) / 2])
        if enough and len(drawn)
        else (np.nan, np.nan)
    )
    estimate = {"mean": _finite(values[0]), "low": _finite(low), "high": _finite(high)}
    if signed:
        estimate["positive"] = float((drawn > 0).mean()) if enough and len(drawn) else None
    return estimate


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _names(rows: Sequence[Row], key: str) -> list[str]:
    """Distinct values of `key` in the order of appearance."""
    return list(dict.fromkeys(str(row[key]) for row in rows))
