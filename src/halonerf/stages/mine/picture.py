"""The picture of zoom pairs: each close-up beside the farther photo with its outline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from halonerf.data.pairs.zoom import carry, projected_outline
from halonerf.data.scene.scene import Scene

_LINE = "#e8303a"


def draw_pairs(scene: Scene, table: pd.DataFrame, path: Path, max_pairs: int = 8) -> None:
    """Write a PNG of the best pairs, of different close-ups where there are enough.

    Args:
        table: rows with photo0, photo1, scale_ratio, inliers, homography; best first.
    """
    firsts = table.drop_duplicates("photo0")
    shown = pd.concat([firsts, table.drop(firsts.index)]).head(max_pairs)
    columns = 2 if len(shown) > 1 else 1
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(7.2 * columns, 3.1 * rows), dpi=100, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = np.atleast_2d(figure.subplots(rows, 2 * columns, squeeze=False))
    for axis in axes.ravel():
        axis.axis("off")
    for place, (_, row) in enumerate(shown.iterrows()):
        near, far = scene.index(row.photo0), scene.index(row.photo1)
        left, right = axes[place // columns, 2 * (place % columns) :][:2]
        left.imshow(scene.photo(near).numpy())
        right.imshow(scene.photo(far).numpy())
        outline = carry(
            projected_outline(scene.views[near].width, scene.views[near].height), np.reshape(row.homography, (3, 3))
        )
        if outline is not None:
            right.add_patch(Polygon(outline - 0.5, closed=True, fill=False, edgecolor=_LINE, linewidth=1.8))
            right.set_xlim(-0.5, scene.views[far].width - 0.5)
            right.set_ylim(scene.views[far].height - 0.5, -0.5)
        left.set_title(f"{_short(row.photo0)}, {row.scale_ratio:.1f} times closer", fontsize=8)
        right.set_title(f"{_short(row.photo1)}, {int(row.inliers)} points agree", fontsize=8)
    figure.savefig(path)


def _short(name: str, length: int = 28) -> str:
    base = name.rsplit("/", 1)[-1]
    return base if len(base) <= length else f"{base[: length - 1]}…"
