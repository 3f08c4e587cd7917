"""Superpixels of a photo: small regions of one colour, whose borders follow edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from halonerf.errors import require

SPACING = 0.025  # of superpixels, in long sides of the photo
COMPACTNESS = 10.0  # of SLIC: how much their shape counts beside their colour


def superpixels(picture: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The number of each pixel's superpixel, [H, W], by SLIC (Achanta et al., PAMI 2012).

    picture: [H, W, 3]. Raises: MissingExtra: scikit-image is not installed.
    """
    require("skimage", "viewer")
    from skimage.segmentation import slic

    height, width = picture.shape[:2]
    count = max(1, round(height * width / (SPACING * max(height, width)) ** 2))
    labels: NDArray[np.int64] = slic(picture, n_segments=count, compactness=COMPACTNESS, start_label=0)
    return labels
