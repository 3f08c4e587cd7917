"""Matches by SIFT features and the ratio test; needs no weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from halonerf.config.option_types import NonNegativeFloat, Pixels, PositiveFraction, PositiveInt
from halonerf.matching import mutual_nearest
from halonerf.miners.scaling import clamp_inside, limit_size, luma
from halonerf.sift import extract_sift
from halonerf.types import Matches


class Sift:
    """A `FeatureMiner` by SIFT: mutual nearest neighbours that pass the ratio test.

    Args:
        size: px, long side of the image searched; photos are not enlarged.
        features: per photo at most, those of largest scale.
        peak_threshold: contrast below which a feature is dropped, grey in [0, 1].
        max_ratio: largest distance to the nearest descriptor over that to the second nearest, in (0, 1].
    """

    def __init__(
        self,
        size: Pixels = 1024,
        features: PositiveInt = 8192,
        peak_threshold: NonNegativeFloat = 0.004,
        max_ratio: PositiveFraction = 0.85,
    ) -> None:
        self.size, self.max_features, self.peak_threshold, self.max_ratio = size, features, peak_threshold, max_ratio

    def features(self, image: Tensor) -> dict[str, Tensor]:
        """`points` [N, 2], px of the photo [3, H, W], and `descriptors` [N, 128] of unit length."""
        small, scale = limit_size(image, self.size)
        pixels = (luma(small) * 255).round().clamp(0, 255).byte().numpy()
        (found,) = extract_sift([pixels], self.max_features, self.peak_threshold, threads=1)
        points = clamp_inside(torch.from_numpy(found.points) * scale, image)
        descriptors = torch.from_numpy(found.descriptors).float()
        return {"points": points, "descriptors": descriptors / descriptors.norm(dim=1, keepdim=True).clamp(min=1e-9)}

    def match_features(self, features0: Mapping[str, Tensor], features1: Mapping[str, Tensor]) -> Matches:
        """Matches of two photos by their features; score: cosine of the descriptors, in [0, 1]."""
        pairs, cosine = mutual_nearest(features0["descriptors"], features1["descriptors"], self.max_ratio)
        points0, points1 = features0["points"][pairs[:, 0]], features1["points"][pairs[:, 1]]
        return Matches(points0, points1, cosine.clamp(0, 1))

    def match(
        self, image0: Tensor, image1: Tensor, seen: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    ) -> Matches:
        """Matches of two photos, [3, H, W] in [0, 1] each; `seen` is not used."""
        return self.match_features(self.features(image0), self.features(image1))
