"""The segmenter as the stages use it: with the weights that adaptation left, and masks brought into photos' frames."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from halonerf.data.scenes import Scene
from halonerf.protocols import Segmenter
from halonerf.stages.build import build


def open_segmenter(config: Mapping[str, Any], scene: Scene, adapted: Path | None = None) -> Segmenter:
    """Build a segmenter for the photos of a scene.

    Args:
        config: the segmenter's.
        adapted: the folder of `adapt_segmenter`, whose weights are taken instead of those of the config; a file or a
            folder, as the segmenter writes them.
    """
    weights: dict[str, Any] = {} if adapted is None else {"weights": str(next(adapted.glob("model*")))}
    segmenter: Segmenter = build(config, **weights)
    if hasattr(segmenter, "place"):

        def undistorted(name: str, drawing: np.ndarray) -> np.ndarray:
            return scene.undistort(scene.index(name), drawing)

        segmenter.place(undistorted)
    return segmenter
