"""Format `depth`: depth maps of every photo as float arrays and as 16-bit PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from halonerf.files import write_npz
from halonerf.rendering.tiles import render_frame
from halonerf.stages.export.contents import ExportContents
from halonerf.stages.export.names import inside
from halonerf.visualization.pictures import save_picture

MAX_STEPS = 65535  # of a 16-bit picture
MIN_OPACITY = 0.5  # of a pixel that shows a surface in a picture
RANGE = 1.5  # largest depth of a picture, over that of the farthest point of the scene


class DepthMaps:
    """Depth along the optical axis, as the field shows it."""

    name = "depth"
    summary = (
        "arrays/<photo>.npz: depth along the optical axis in the units below, float32, 0 where nothing is hit; "
        "opacity. pictures/<photo>.png: 16 bit, in steps of the unit in contents.json; 0 is no surface."
    )
    wants_images = False

    def files(self, contents: ExportContents, folder: Path, view: int) -> list[Path]:
        """An array and a picture."""
        return list(depth_files(folder, contents.scene.names[view]))

    def write_photo(self, contents: ExportContents, folder: Path, view: int) -> None:
        """Write the depth of a view."""
        field, camera = contents.field, contents.scene.views[view].to(contents.device)
        rendering = render_frame(field, camera, field.mean_appearance())
        depth = torch.where(rendering.opacity > 0, rendering.depth, 0.0).numpy() * contents.frame.scale
        write_depth(folder, contents.scene.names[view], depth, rendering.opacity.numpy(), self._unit(contents))

    def write(self, contents: ExportContents, folder: Path) -> dict[str, Any]:
        """Number of `photos`, and the `unit` of the pictures; writes nothing more."""
        return {"photos": len(contents.scene), "unit": self._unit(contents)}

    def _unit(self, contents: ExportContents) -> float:
        return depth_unit(contents.scene.far, contents.frame.scale)


def depth_unit(far: np.ndarray, scale: float) -> float:
    """Depth of one step of the pictures, in the export's unit, for all photos.

    far: [V], world units, depth of the farthest point in each photo. scale: units of the export per world unit.
    """
    return float(np.max(far)) * RANGE * scale / MAX_STEPS


def depth_files(folder: Path, photo: str) -> tuple[Path, Path]:
    """Paths of a photo's array and its picture."""
    return inside(folder / "arrays", f"{photo}.npz"), inside(folder / "pictures", f"{photo}.png")


def write_depth(folder: Path, photo: str, depth: np.ndarray, opacity: np.ndarray, unit: float) -> None:
    """Write a photo's depth as an array and, in steps of `unit`, as a 16-bit picture.

    The array file holds `depth` float32 and `opacity` float16. A pixel of the picture is 0 where the opacity is below
    `MIN_OPACITY`; depths beyond the last step are clipped to it.

    Args:
        depth: [H, W], in the export's unit along the optical axis, 0 where nothing is hit. opacity: [H, W] in [0, 1].
        unit: see `depth_unit`.
    """
    array, picture = depth_files(folder, photo)
    for file in (array, picture):
        file.parent.mkdir(parents=True, exist_ok=True)
    surface = (opacity >= MIN_OPACITY) & (depth > 0)
    steps = np.where(surface, np.clip(np.rint(depth / unit), 1, MAX_STEPS), 0).astype(np.uint16)
    write_npz(array, compress=True, depth=depth.astype(np.float32), opacity=opacity.astype(np.float16))
    save_picture(picture, steps)
