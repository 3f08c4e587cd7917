"""Precision-recall curves as arrays and as figures."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from halonerf.evaluation.scores import METHODS, pooled_curve
from halonerf.files import write_atomic, write_npz
from halonerf.visualization.palette import Colour, hex_colour, palette_colour

INK = "#7c8694"  # readable on white and on black
COLUMNS = 3  # panels in a row
PANEL_INCHES = (4.2, 3.5)  # width, height

Curve = tuple[NDArray[np.floating], NDArray[np.floating]]  # precision and recall, [bins] each


def write_curves(folder: Path, photos: Sequence[Mapping[str, Any]], concepts: Mapping[str, Colour]) -> None:
    """Write `pr_curves.npz` and `pr_curves.png`: pixels of all photos pooled, one curve per concept and method.

    The arrays `precision_<method>` and `recall_<method>` are [concepts, bins], NaN where the method has no map.

    Args:
        photos: what `Evaluate` wrote for each.
        concepts: the colour of each concept's curves.
    """
    curves = {
        method: {
            c: pooled_curve(p["histograms"][c][method] for p in photos if method in p["histograms"].get(c, {}))
            for c in concepts
        }
        for method in METHODS
    }
    arrays: dict[str, np.ndarray] = {"concepts": np.array(list(concepts), dtype=str)}
    for method, of in curves.items():
        arrays[f"precision_{method}"] = np.stack([precision for precision, _ in of.values()])
        arrays[f"recall_{method}"] = np.stack([recall for _, recall in of.values()])
    write_npz(folder / "pr_curves.npz", compress=True, **arrays)
    panels = {"segmenter, 2D": curves["2d"], "HaloNeRF, 3D": curves["3d"]}
    write_atomic(folder / "pr_curves.png", draw_precision_recall(panels, concepts))


def draw_precision_recall(
    panels: Mapping[str, Mapping[str, Curve]], colours: Mapping[str, Colour] | None = None
) -> bytes:
    """A PNG of precision over recall, transparent, readable on white and on black.

    Args:
        panels: curves by label, by title of the panel; a label has one colour in all panels. NaN is not drawn.
        colours: of the labels; None: those of the palette in turn.
    """
    columns = max(1, min(COLUMNS, len(panels)))
    rows = -(-max(1, len(panels)) // columns)
    figure = Figure(figsize=(PANEL_INCHES[0] * columns, PANEL_INCHES[1] * rows), dpi=120)
    axes_of = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
    labels = list(dict.fromkeys(label for curves in panels.values() for label in curves))
    colours = colours or {label: palette_colour(number) for number, label in enumerate(labels)}
    for axes, (title, curves) in zip(axes_of, panels.items(), strict=False):
        for label, (precision, recall) in curves.items():
            axes.plot(recall, precision, linewidth=2, color=hex_colour(colours[label]), label=label)
        if not any(np.isfinite(recall).any() for _, recall in curves.values()):
            axes.text(0.5, 0.5, "no maps", ha="center", color=INK)
        axes.set_title(title, color=INK, fontsize=11)
        axes.set_xlim(0, 1.01)
        axes.set_ylim(0, 1.02)
        axes.tick_params(colors=INK)
        axes.grid(alpha=0.25)
        axes.patch.set_alpha(0)
        for side in axes.spines.values():
            side.set_color(INK)
    for axes in axes_of[len(panels) :]:
        axes.set_visible(False)
    if labels:
        axes_of[len(panels) - 1].legend(loc="lower left", fontsize=8, frameon=False, labelcolor=INK)
    figure.supxlabel("recall", fontsize=10, color=INK)
    figure.supylabel("precision", fontsize=10, color=INK)
    figure.patch.set_alpha(0)
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
