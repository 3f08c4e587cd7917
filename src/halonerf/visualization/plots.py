"""Learning curves as a picture: losses on the left, scores of held-out data on the right."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image


def draw_curves(
    history: Sequence[Mapping[str, float | None]],
    losses: Sequence[str],
    scores: Sequence[str],
    kept: int,
) -> np.ndarray:
    """Plot losses and scores over epochs, uint8 [H, W, 3], black on white.

    Args:
        history: a row per epoch with `epoch` and the quantities named in `losses` and `scores`; None where unknown.
        losses: names in the left panel. scores: names in the right panel, values in [0, 1]; left out where empty.
        kept: index of the row whose epoch is marked as the one whose weights are kept.
    """
    panels = [panel for panel in ((losses, (None, None)), (scores, (0.0, 1.02))) if panel[0]]
    figure = Figure(figsize=(4.5 * len(panels), 3.4), dpi=110)
    for axes, (names, limits) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for name in names:
            points = [(row["epoch"], row[name]) for row in history if row.get(name) is not None]
            axes.plot([x for x, _ in points], [y for _, y in points], marker="o", markersize=3, label=name)
        axes.axvline(history[kept]["epoch"], color="0.6", linewidth=1, linestyle="--", label="kept")
        axes.set_xlabel("epoch")
        axes.set_ylim(*limits)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
        axes.legend(fontsize=8)
    figure.tight_layout()
    png = io.BytesIO()
    figure.savefig(png, format="png")
    with Image.open(png) as picture:
        return np.asarray(picture.convert("RGB"))
