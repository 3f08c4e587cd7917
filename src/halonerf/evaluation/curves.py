"""Precision-recall curves as arrays and as a picture."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from halonerf.evaluation.scores import METHODS, curve
from halonerf.files import write_atomic, write_npz
from halonerf.visualization.palette import Colour, hex_colour

INK = "#7c8694"  # readable on white and on black


def write_curves(folder: Path, photos: Sequence[Mapping[str, Any]], concepts: Mapping[str, Colour]) -> None:
    """Write `pr_curves.npz` and `pr_curves.png`: the pixels of all photos pooled, one curve a concept and method.

    concepts: the colour of each curve.

    The arrays `precision_<method>` and `recall_<method>` are [concepts, bins], NaN where the method has no map.
    """
    arrays: dict[str, np.ndarray] = {"concepts": np.array(list(concepts), dtype=str)}
    for method in METHODS:
        pairs = [
            curve(p["histograms"][c][method] for p in photos if method in p["histograms"].get(c, {})) for c in concepts
        ]
        arrays[f"precision_{method}"] = np.stack([precision for precision, _ in pairs])
        arrays[f"recall_{method}"] = np.stack([recall for _, recall in pairs])
    write_npz(folder / "pr_curves.npz", compress=True, **arrays)
    write_atomic(folder / "pr_curves.png", _picture(arrays, concepts))


def _picture(arrays: Mapping[str, np.ndarray], concepts: Mapping[str, Colour]) -> bytes:
    figure = Figure(figsize=(9, 3.6), dpi=130)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, method, title in zip(panels, METHODS, ("segmenter, 2D", "HaloNeRF, 3D"), strict=True):
        for index, (concept, colour) in enumerate(concepts.items()):
            recall, precision = arrays[f"recall_{method}"][index], arrays[f"precision_{method}"][index]
            axes.plot(recall, precision, linewidth=2, color=hex_colour(colour), label=concept)
        axes.set_title(title, color=INK, fontsize=11)
        axes.set_xlabel("recall", color=INK)
        axes.set_xlim(0, 1.01)
        axes.set_ylim(0, 1.02)
        axes.tick_params(colors=INK)
        axes.grid(alpha=0.25)
        axes.patch.set_alpha(0)
        for side in axes.spines.values():
            side.set_color(INK)
        if not np.isfinite(arrays[f"recall_{method}"]).any():
            axes.text(0.5, 0.5, "none of these photos", ha="center", color=INK)
    panels[0].set_ylabel("precision", color=INK)
    panels[1].legend(loc="lower left", fontsize=8, frameon=False, labelcolor=INK)
    figure.patch.set_alpha(0)
    figure.tight_layout()
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    return drawn.getvalue()


COLUMNS = 3  # panels in a row


def save_curves(
    path: Path, found: Mapping[str, Sequence[Mapping[str, Mapping[str, list[int]]]]], concepts: Sequence[str]
) -> None:
    """Write a picture of precision and recall: the pixels of all photos pooled, a panel a concept, a line a method.

    Args:
        found: by title of a method, each photo's counts by concept (`halonerf.evaluation.scores.histogram`).
    """
    columns = max(1, min(COLUMNS, len(concepts)))
    rows = -(-max(1, len(concepts)) // columns)
    figure = Figure(figsize=(3.7 * columns, 3.2 * rows), dpi=110)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
    for axes, concept in zip(panels, concepts, strict=False):
        for title, photos in found.items():
            precision, recall = curve(photo[concept] for photo in photos if concept in photo)
            axes.plot(recall, precision, linewidth=1.8, label=title)
        axes.set_title(concept, fontsize=11)
        axes.set_xlim(0, 1.01)
        axes.set_ylim(0, 1.02)
        axes.grid(alpha=0.25)
    for axes in panels[len(concepts) :]:
        axes.set_visible(False)
    panels[0].legend(fontsize=8, frameon=False)
    panels[0].set_ylabel("precision")
    figure.supxlabel("recall", fontsize=10)
    figure.tight_layout()
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    write_atomic(path, drawn.getvalue())
