"""The picture of the registration: cameras and points from above and from the front."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from halonerf.data.scene.scene import Scene

_INK, _TRAIN, _TEST = "#22262b", "#d1495b", "#00798c"


def draw_registration(scene: Scene, path: Path) -> None:
    """Write a PNG of the scene's cameras and points from above and from the front."""
    points, colours = scene.points.numpy(), scene.colours.numpy()
    centres = np.stack([v.centre.numpy() for v in scene.views])
    span = float(np.quantile(np.abs(centres), 0.95)) * 1.25
    reach = max(1.3, span)
    y, z = (np.concatenate([centres[:, axis], points[:, axis]]) for axis in (1, 2))
    depth = max(float(y.min()), -1.2 * reach) - 0.2, min(float(np.quantile(y, 0.99)), reach) + 0.2
    height = float(np.quantile(z, 0.002)) - 0.15, float(np.quantile(z, 0.998)) + 0.15
    tallest = max(depth[1] - depth[0], height[1] - height[0]) / (2 * reach)
    figure = Figure(figsize=(12.0, 5.6 * min(tallest, 1.5) + 1.3), dpi=110, facecolor="white")
    FigureCanvasAgg(figure)
    top, front = figure.subplots(1, 2)
    order = np.argsort(points[:, 2])
    size = float(np.clip(16000.0 / max(len(points), 1), 1.4, 8.0))
    top.scatter(points[order, 0], points[order, 1], s=size, c=colours[order], linewidths=0)
    order = np.argsort(-points[:, 1])
    front.scatter(points[order, 0], points[order, 2], s=size, c=colours[order], linewidths=0)
    for split, colour in (("train", _TRAIN), ("test", _TEST)):
        chosen = scene.indices(split)
        if not chosen:
            continue
        for axes, plane in ((top, (0, 1)), (front, (0, 2))):
            axes.add_collection(
                LineCollection(_frusta(scene, chosen, reach * 0.08, plane), colors=colour, linewidths=0.9, alpha=0.9)
            )
            axes.plot(*centres[chosen][:, plane].T, "o", ms=3.2, color=colour, label=f"{len(chosen)} {split} photos")
    for axes, title, up in ((top, "from above", "y"), (front, "from the front", "z")):
        axes.set_title(title, fontsize=10, color=_INK)
        axes.set_xlabel("x, world units", fontsize=8)
        axes.set_ylabel(f"{up}, world units", fontsize=8)
        axes.set_aspect("equal")
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.25, linewidth=0.5)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    for axes, limits in ((top, depth), (front, height)):
        axes.set_xlim(-reach, reach)
        axes.set_ylim(*limits)
    handles, labels = top.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=2, fontsize=9, frameon=False)
    figure.suptitle(
        f"{scene.name}: {len(scene)} photos registered, {len(points):,} points", fontsize=12, color=_INK, x=0.5
    )
    figure.subplots_adjust(left=0.05, right=0.99, wspace=0.14, bottom=0.16, top=0.86)
    figure.savefig(path, bbox_inches="tight")


def _frusta(scene: Scene, chosen: list[int], depth: float, plane: tuple[int, int]) -> list[np.ndarray]:
    lines = []
    for i in chosen:
        view = scene.views[i]
        corners = np.array(
            [
                [(x - view.cx) / view.fx, (y - view.cy) / view.fy, 1.0]
                for x, y in ((0, 0), (view.width, 0), (view.width, view.height), (0, view.height))
            ]
        )
        pose = view.camera_to_world.numpy()
        world = corners * depth @ pose[:, :3].T + pose[:, 3]
        for corner in world:
            lines.append(np.stack([pose[:, 3], corner])[:, plane])
        lines.append(np.concatenate([world, world[:1]])[:, plane])
    return lines
