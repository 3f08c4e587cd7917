"""Matches by DISK features (Tyszkiewicz et al., NeurIPS 2020) and LightGlue (Lindenberger et al., ICCV 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from halonerf.config.option_types import HalfOpenFraction, Pixels, PositiveInt, Text
from halonerf.miners.scaling import clamp_inside, limit_size
from halonerf.miners.weights import fill
from halonerf.types import Matches

DISK_URLS = (
    "https://huggingface.co/kornia/disk/resolve/main/depth-save.pth",
    "https://raw.githubusercontent.com/cvlab-epfl/disk/master/depth-save.pth",
)
LIGHTGLUE_URLS = (
    "https://huggingface.co/kornia/lightglue/resolve/main/disk_lightglue.pth",
    "https://github.com/cvg/LightGlue/releases/download/v0.1_arxiv/disk_lightglue.pth",
)
PIXEL_CENTRE = 0.5  # kornia's pixel centres are at whole coordinates
SIDE_MULTIPLE = 16  # px; DISK halves a photo four times


class DiskLightGlue(nn.Module):
    """A `FeatureMiner` by DISK and LightGlue, a network that attends to the features of both photos; through kornia.

    Args:
        weights: of DISK: "hub", a URL, or a file in its authors' layout.
        matcher: weights of LightGlue for DISK, likewise.
        size: px, long side of the image searched; photos are not enlarged.
        features: per photo at most, the most confident first.
        min_score: smallest confidence of a match, in [0, 1).

    Raises:
        MissingArtifact: the weights are not found. BadInput: they are of another network.
    """

    data_options = ("weights", "matcher")

    def __init__(
        self,
        weights: Text = "hub",
        matcher: Text = "hub",
        size: Pixels = 1024,
        features: PositiveInt = 2048,
        min_score: HalfOpenFraction = 0.1,
    ) -> None:
        from kornia.feature import DISK, LightGlue

        super().__init__()
        self.disk = DISK()
        fill(self.disk, weights, DISK_URLS, "miner.weights", inside="extractor")
        # the options of LightGlue("disk"), whose constructor would download its weights
        bare: dict[str, Any] = {"features": None, "input_dim": 128, "weights": None}
        self.matcher = LightGlue(**bare, filter_threshold=min_score)
        layers = self.matcher.conf.n_layers
        renamed = {
            f"{kind}.{i}": f"transformers.{i}.{kind}" for kind in ("self_attn", "cross_attn") for i in range(layers)
        }
        fill(
            self.matcher,
            matcher,
            LIGHTGLUE_URLS,
            "miner.matcher",
            spare=("confidence_thresholds",),
            renamed=renamed,
        )
        self.size, self.count = size, features

    @torch.no_grad()
    def features(self, image: Tensor) -> dict[str, Tensor]:
        """Features of a photo [3, H, W]: `points` [N, 2], its px, `descriptors` [N, 128] of unit length; for LightGlue,
        `keypoints` [N, 2], px of the image searched, and `size` [2], its (width, height).
        """
        small, scale = limit_size(image, self.size, SIDE_MULTIPLE)
        device = next(self.disk.parameters()).device
        found = self.disk(small[None].to(device), self.count)[0]
        keypoints = found.keypoints.float().cpu()
        return {
            "points": clamp_inside((keypoints + PIXEL_CENTRE) * scale, image),
            "descriptors": found.descriptors.float().cpu(),
            "keypoints": keypoints,
            "size": torch.tensor([small.shape[2], small.shape[1]], dtype=torch.float32),
        }

    @torch.no_grad()
    def match_features(self, features0: Mapping[str, Tensor], features1: Mapping[str, Tensor]) -> Matches:
        """Matches of two photos by their features; score: LightGlue's, in [0, 1]."""
        if min(len(features0["points"]), len(features1["points"])) < 2:
            return Matches(torch.zeros(0, 2), torch.zeros(0, 2), torch.zeros(0))
        device = next(self.matcher.parameters()).device
        data: dict[str, Any] = {
            name: {
                "keypoints": features["keypoints"][None].to(device),
                "descriptors": features["descriptors"][None].to(device),
                "image_size": features["size"][None].to(device),
            }
            for name, features in (("image0", features0), ("image1", features1))
        }
        found = self.matcher(data)
        pairs, score = found["matches"][0].cpu(), found["scores"][0].float().cpu()
        return Matches(features0["points"][pairs[:, 0]], features1["points"][pairs[:, 1]], score.clamp(0, 1))

    def match(
        self, image0: Tensor, image1: Tensor, seen: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    ) -> Matches:
        """Matches of two photos, [3, H, W] in [0, 1] each; `seen` is not used."""
        return self.match_features(self.features(image0), self.features(image1))
