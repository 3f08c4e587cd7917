"""Maps of annotated renderings, `renderings/<number>.npz` of `segment`: what was drawn from cameras of no photo.

probability   uint8 [P, H, W], 255 = certain; known: bool [P, H, W], where anything is (`probability_maps`)
camera        float64 [6 + 12]: width, height, fx, fy, cx, cy (px), camera to world [3, 4] row by row (world units)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from halonerf.data.formats.names import RENDERINGS, view_file
from halonerf.data.formats.probability_maps import read_probability, write_maps
from halonerf.types import View

RenderingMaps = tuple[View, NDArray[np.float32], NDArray[np.bool_]]


def write_rendering_maps(
    folder: Path, number: int, view: View, probability: NDArray[np.floating], known: NDArray[np.bool_]
) -> None:
    """Write the maps of one rendering, [P, H, W] each, into a `segment` folder."""
    (folder / RENDERINGS).mkdir(exist_ok=True)
    numbers = [view.width, view.height, view.fx, view.fy, view.cx, view.cy]
    camera = np.concatenate([np.array(numbers, np.float64), view.camera_to_world[:3].double().numpy().ravel()])
    write_maps(view_file(folder / RENDERINGS, number, ".npz"), probability, known, camera=camera)


def read_rendering_maps(folder: Path) -> Iterator[RenderingMaps]:
    """Camera, probability in [0, 1] and where it is known, [P, H, W] each, of every annotated rendering."""
    for path in sorted((folder / RENDERINGS).glob("*.npz")):
        with np.load(path, allow_pickle=False) as stored:
            camera = stored["camera"]
        width, height, fx, fy, cx, cy = camera[:6].tolist()
        pose = torch.from_numpy(camera[6:].reshape(3, 4)).float()
        yield View(int(width), int(height), fx, fy, cx, cy, pose), *read_probability(path)
