"""How methods compare over several scenes: means, their spread over scenes, and a table to read in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from halonerf.stages.tables import MEAN

Row = Mapping[str, Any]
Spread = dict[str, float | int | None]  # mean, sd (over scenes, of a sample; None for one), scenes


def spreads(rows: Sequence[Row], figure: str = "ap") -> dict[str, dict[str, Spread]]:
    """Mean and standard deviation over scenes, by concept and method; under `MEAN`, of the scenes' means.

    Args:
        rows: a photo, a concept and a method each, as in `halonerf.stages.evaluate_bootstrap`. A scene's mean is that
            of its concepts, a concept's that of its photos.
    """
    photos: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        if row[figure] is not None:
            photos.setdefault((row["concept"], row["method"], row["scene"]), []).append(row[figure])
    scenes: dict[str, dict[str, dict[str, float]]] = {}
    for (concept, method, scene), values in photos.items():
        scenes.setdefault(concept, {}).setdefault(method, {})[scene] = float(np.mean(values))
    whole: dict[str, dict[str, list[float]]] = {}
    for methods in scenes.values():
        for method, means in methods.items():
            for scene, value in means.items():
                whole.setdefault(method, {}).setdefault(scene, []).append(value)
    scenes[MEAN] = {m: {scene: float(np.mean(values)) for scene, values in of.items()} for m, of in whole.items()}
    return {
        concept: {method: _spread(list(means.values())) for method, means in methods.items()}
        for concept, methods in scenes.items()
    }


def text_table(found: Mapping[str, Mapping[str, Spread]], titles: Mapping[str, str]) -> str:
    """`spreads` as lines of text: concepts down, methods across, mean ± sd over scenes."""
    cells = [["concept", *titles.values()]]
    for concept, methods in found.items():
        cells.append([concept, *(cell(methods.get(method)) for method in titles)])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in cells
    )


def cell(entry: Spread | None) -> str:
    """0.874 ± 0.021; without a spread where there is one scene."""
    if entry is None or entry["mean"] is None:
        return "–"
    spread = "" if entry["sd"] is None else f" ± {entry['sd']:.3f}"
    return f"{entry['mean']:.3f}{spread}"


def _spread(values: Sequence[float]) -> Spread:
    return {
        "mean": float(np.mean(values)),
        "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "scenes": len(values),
    }
