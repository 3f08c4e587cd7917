"""LoFTR (Sun et al., CVPR 2021): matches without key points, dense enough for bare walls, through kornia."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from halonerf.errors import BadInput
from halonerf.miners.scaling import clamp_inside, shrink
from halonerf.miners.weights import fill
from halonerf.types import Matches
from halonerf.visualization.pictures import REC601

ADDRESSES = (
    "https://huggingface.co/kornia/loftr/resolve/main/loftr_outdoor.ckpt",
    "https://cmp.felk.cvut.cz/~mishkdmy/models/loftr_outdoor.ckpt",
)
BLOCK = 8  # px; a coarse cell


class Loftr(nn.Module):
    """Matches photos by comparing all of one with all of the other: memory grows with the fourth power of `size`.

    It looks at a pair as a whole, so nothing of a photo can be kept for the next pair.

    Args:
        weights: "hub" (trained outdoors), an address, or a file in its authors' layout.
        size: px, long side of the images compared; photos are not enlarged.
        min_score: sureness of a match, in [0, 1).

    Raises:
        MissingArtifact: the weights are not there. BadInput: they are of another network.
    """

    def __init__(self, weights: str = "hub", size: int = 640, min_score: float = 0.2) -> None:
        from kornia.feature import LoFTR
        from kornia.feature.loftr.loftr import default_cfg

        super().__init__()
        if not 0 <= min_score < 1:
            raise BadInput(f"expected miner.min_score in [0, 1), got {min_score}.\nThe default is: miner.min_score=0.2")
        config: dict[str, Any] = copy.deepcopy(default_cfg)
        config["match_coarse"]["thr"] = min_score
        self.network = LoFTR(None, config)
        fill(self.network, weights, ADDRESSES, "miner.weights", inside="state_dict")
        self.size = size

    @torch.no_grad()
    def match(
        self, image0: Tensor, image1: Tensor, seen: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    ) -> Matches:
        """Of two photos [3, H, W] in [0, 1]; `seen` is left alone. Score: LoFTR's, of the coarse match."""
        device = next(self.network.parameters()).device
        small, scales = zip(*(shrink(image, self.size, BLOCK) for image in (image0, image1)), strict=True)
        grey = [(s * torch.tensor(REC601).view(3, 1, 1)).sum(dim=0)[None, None].to(device) for s in small]
        found = self.network({"image0": grey[0], "image1": grey[1]})
        points0, points1 = (found[f"keypoints{k}"].float().cpu() * scales[k] for k in (0, 1))
        score = found["confidence"].float().cpu().clamp(0, 1)
        return Matches(clamp_inside(points0, image0), clamp_inside(points1, image1), score)
