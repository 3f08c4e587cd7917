"""Semi-dense matches by LoFTR (Sun et al., CVPR 2021), which needs no key points, through kornia."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from halonerf.config.option_types import HalfOpenFraction, Pixels, Text
from halonerf.miners.scaling import clamp_inside, limit_size, luma
from halonerf.miners.weights import fill
from halonerf.types import Matches

WEIGHTS_URLS = (
    "https://huggingface.co/kornia/loftr/resolve/main/loftr_outdoor.ckpt",
    "https://cmp.felk.cvut.cz/~mishkdmy/models/loftr_outdoor.ckpt",
)
SIDE_MULTIPLE = 8  # px; a coarse cell


class Loftr(nn.Module):
    """A `CorrespondenceMiner` by LoFTR, which compares all cells of both photos: memory grows with size^4.

    Its features depend on the pair, so that none can be reused for the next pair.

    Args:
        weights: "hub" (trained outdoors), a URL, or a file in its authors' layout.
        size: px, long side of the images compared; photos are not enlarged.
        min_score: smallest confidence of a match, in [0, 1).

    Raises:
        MissingArtifact: the weights are not found. BadInput: they are of another network.
    """

    data_options = ("weights",)

    def __init__(self, weights: Text = "hub", size: Pixels = 640, min_score: HalfOpenFraction = 0.2) -> None:
        from kornia.feature import LoFTR
        from kornia.feature.loftr.loftr import default_cfg

        super().__init__()
        config: dict[str, Any] = copy.deepcopy(default_cfg)
        config["match_coarse"]["thr"] = min_score
        self.network = LoFTR(None, config)
        fill(self.network, weights, WEIGHTS_URLS, "miner.weights", inside="state_dict")
        self.size = size

    @torch.no_grad()
    def match(
        self, image0: Tensor, image1: Tensor, seen: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    ) -> Matches:
        """Matches of two photos, [3, H, W] in [0, 1] each; `seen` is not used. Score: that of the coarse match."""
        device = next(self.network.parameters()).device
        small, scales = zip(*(limit_size(image, self.size, SIDE_MULTIPLE) for image in (image0, image1)), strict=True)
        grey = [luma(image)[None, None].to(device) for image in small]
        found = self.network({"image0": grey[0], "image1": grey[1]})
        points0, points1 = (found[f"keypoints{k}"].float().cpu() * scales[k] for k in (0, 1))
        score = found["confidence"].float().cpu().clamp(0, 1)
        return Matches(clamp_inside(points0, image0), clamp_inside(points1, image1), score)
