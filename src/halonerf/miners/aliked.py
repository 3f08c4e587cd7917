"""Matches by ALIKED features (Zhao et al., IEEE TIM 2023) and the ratio test, through kornia."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from annotated_types import Interval
from torch import Tensor, nn

from halonerf.config.option_types import Fraction, Pixels, PositiveFraction, PositiveInt, Text
from halonerf.matching import mutual_nearest
from halonerf.miners.scaling import clamp_inside, limit_size
from halonerf.miners.weights import fill
from halonerf.types import Matches

WEIGHTS_URLS = (
    "https://huggingface.co/kornia/aliked/resolve/main/{}.pth",
    "https://github.com/Shiaoming/ALIKED/raw/main/models/{}.pth",
)
PIXEL_CENTRE = 0.5  # kornia's pixel centres are at whole coordinates


class Aliked(nn.Module):
    """A `FeatureMiner` by ALIKED: mutual nearest neighbours that pass the ratio test and a limit of similarity.

    Args:
        weights: "hub", a URL, or a file, of the model `model`.
        model: aliked-t16 | aliked-n16 | aliked-n16rot | aliked-n32.
        size: px, long side of the image searched; photos are not enlarged.
        features: per photo at most, the most confident first.
        threshold: smallest confidence of a feature, in [0, 1).
        max_ratio: largest distance to the nearest descriptor over that to the second nearest, in (0, 1].
        min_cosine: smallest cosine of two descriptors that match.

    Raises:
        MissingArtifact: the weights are not found. BadInput: they are of another model.
    """

    data_options = ("weights",)

    def __init__(
        self,
        weights: Text = "hub",
        model: Literal["aliked-t16", "aliked-n16", "aliked-n16rot", "aliked-n32"] = "aliked-n16rot",
        size: Pixels = 1024,
        features: PositiveInt = 4096,
        threshold: Fraction = 0.1,
        max_ratio: PositiveFraction = 0.95,
        min_cosine: Annotated[float, Interval(ge=-1, le=1)] = 0.5,
    ) -> None:
        from kornia.feature import ALIKED

        super().__init__()
        self.network = ALIKED(model, features, threshold)
        # the grid of the detector's window follows from its radius and is not in the authors' files
        fill(self.network, weights, [a.format(model) for a in WEIGHTS_URLS], "miner.weights", spare=("dkd.hw_grid",))
        self.size, self.max_ratio, self.min_cosine = size, max_ratio, min_cosine

    @torch.no_grad()
    def features(self, image: Tensor) -> dict[str, Tensor]:
        """`points` [N, 2], px of the photo [3, H, W], and `descriptors` [N, D] of unit length."""
        small, scale = limit_size(image, self.size)
        device = next(self.network.parameters()).device
        found = self.network(small[None].to(device))[0]
        points = clamp_inside((found.keypoints.float().cpu() + PIXEL_CENTRE) * scale, image)
        return {"points": points, "descriptors": found.descriptors.float().cpu()}

    def match_features(self, features0: Mapping[str, Tensor], features1: Mapping[str, Tensor]) -> Matches:
        """Matches of two photos by their features; score: cosine of the descriptors, in [0, 1]."""
        described = features0["descriptors"], features1["descriptors"]
        pairs, cosine = mutual_nearest(*described, self.max_ratio, self.min_cosine)
        points0, points1 = features0["points"][pairs[:, 0]], features1["points"][pairs[:, 1]]
        return Matches(points0, points1, cosine.clamp(0, 1))

    def match(
        self, image0: Tensor, image1: Tensor, seen: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    ) -> Matches:
        """Matches of two photos, [3, H, W] in [0, 1] each; `seen` is not used."""
        return self.match_features(self.features(image0), self.features(image1))
