"""How far away each pixel is: exact in world units, and as 16-bit pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from halonerf.files import write_npz
from halonerf.stages.export.names import inside
from halonerf.visualization.pictures import save_picture

FURTHEST = 65535  # of a 16-bit picture
SOLID = 0.5  # opacity from which a picture's pixel shows a surface
ROOM = 1.5  # times the furthest point of the scene that a picture can show


def depth_unit(far: np.ndarray, scale: float) -> float:
    """What one step of the pictures is, in the export's units: the same for all photos.

    far: [V], world units, of the furthest points in each photo. scale: the export's units a world unit.
    """
    return float(np.max(far)) * ROOM * scale / FURTHEST


def depth_files(folder: Path, photo: str) -> tuple[Path, Path]:
    """Where a photo's array and its picture go."""
    return inside(folder / "arrays", f"{photo}.npz"), inside(folder / "pictures", f"{photo}.png")


def write_depth(folder: Path, photo: str, depth: np.ndarray, opacity: np.ndarray, unit: float) -> None:
    """Write `depth` float32 [H, W], in the export's units along the optical axis, 0 where nothing is hit, and `opacity`
    float16 [H, W]; and the depth in steps of `unit`, 0 where there is no surface, the last step and beyond alike.
    """
    array, picture = depth_files(folder, photo)
    for file in (array, picture):
        file.parent.mkdir(parents=True, exist_ok=True)
    solid = (opacity >= SOLID) & (depth > 0)
    steps = np.where(solid, np.clip(np.rint(depth / unit), 1, FURTHEST), 0).astype(np.uint16)
    write_npz(array, compress=True, depth=depth.astype(np.float32), opacity=opacity.astype(np.float16))
    save_picture(picture, steps)
