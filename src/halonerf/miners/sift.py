"""SIFT (Lowe, IJCV 2004) by COLMAP, with RootSIFT descriptors (Arandjelović and Zisserman, CVPR 2012). No weights."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from halonerf.miners.nearest import mutual_nearest
from halonerf.miners.scaling import clamp_inside, shrink
from halonerf.types import Matches
from halonerf.visualization.pictures import REC601


class Sift:
    """Matches photos by SIFT: mutual nearest neighbours that pass the ratio test.

    Args:
        size: px, long side of the image searched; photos are not enlarged.
        features: kept a photo at most, those of largest scale first.
        peak_threshold: contrast below which a feature is dropped, grey in [0, 1].
        max_ratio: largest distance to the nearest descriptor over that to the second nearest, in (0, 1].
    """

    def __init__(
        self, size: int = 1024, features: int = 8192, peak_threshold: float = 0.004, max_ratio: float = 0.85
    ) -> None:
        self.size, self.count, self.peak_threshold, self.max_ratio = size, features, peak_threshold, max_ratio
        self._own = threading.local()  # an extractor keeps buffers, so each thread has one

    def features(self, image: Tensor) -> dict[str, Tensor]:
        """`points` [N, 2], px of the photo [3, H, W], and `descriptors` [N, 128] of unit length."""
        small, scale = shrink(image, self.size)
        grey = (small * torch.tensor(REC601).view(3, 1, 1)).sum(dim=0)
        pixels = np.ascontiguousarray((grey * 255).round().clamp(0, 255).byte().numpy())
        found, raw = self._extractor().extract_from_uint8_array(pixels)
        place = np.array([(p.x, p.y, p.compute_scale()) for p in found], np.float32).reshape(-1, 3)
        order = np.argsort(-place[:, 2], kind="stable")[: self.count]
        descriptors = torch.from_numpy(np.asarray(raw.data, np.float32)[order].reshape(-1, 128))
        points = clamp_inside(torch.from_numpy(place[order, :2]) * scale, image)
        return {"points": points, "descriptors": descriptors / descriptors.norm(dim=1, keepdim=True).clamp(min=1e-9)}

    def match_features(self, features0: Mapping[str, Tensor], features1: Mapping[str, Tensor]) -> Matches:
        """Score: cosine of the descriptors."""
        pairs, cosine = mutual_nearest(features0["descriptors"], features1["descriptors"], self.max_ratio)
        points0, points1 = features0["points"][pairs[:, 0]], features1["points"][pairs[:, 1]]
        return Matches(points0, points1, cosine.clamp(0, 1))

    def match(
        self, image0: Tensor, image1: Tensor, seen: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    ) -> Matches:
        """Of two photos [3, H, W] in [0, 1]; `seen` is left alone."""
        return self.match_features(self.features(image0), self.features(image1))

    def _extractor(self) -> Any:
        import pycolmap

        if not hasattr(self._own, "extractor"):
            options = pycolmap.FeatureExtractionOptions()
            options.use_gpu, options.num_threads = False, 1
            options.sift.max_num_features, options.sift.peak_threshold = self.count, self.peak_threshold
            before = pycolmap.logging.minloglevel
            pycolmap.logging.minloglevel = pycolmap.logging.ERROR.value  # it announces itself
            try:
                self._own.extractor = pycolmap.FeatureExtractor.create(options, pycolmap.Device.cpu)
            finally:
                pycolmap.logging.minloglevel = before
        return self._own.extractor
