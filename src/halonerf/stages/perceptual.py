"""LPIPS (Zhang et al. 2018), version 0.1 with AlexNet, from files that are on this machine already."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

SHORTEST = 32  # px, the shorter side that AlexNet's poolings need
BACKBONE = "alexnet-owt-7be5be79.pth"  # torchvision's, in torch.hub.get_dir() / checkpoints
LAST_OF_SLICE = (1, 4, 7, 9, 11)  # AlexNet's layers after which features are compared
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of colours in [-1, 1]


class Perceptual(nn.Module):
    """How different two pictures look: squared distances of AlexNet's unit features, weighted as people judged.

    Args:
        backbone: state of torchvision's AlexNet.
        heads: state of the five weightings, as torchmetrics packages them.
    """

    def __init__(self, backbone: dict[str, Any], heads: dict[str, Any]) -> None:
        super().__init__()
        from torchvision.models import alexnet

        network = alexnet(weights=None)
        network.load_state_dict(backbone)
        self.features = network.features[: LAST_OF_SLICE[-1] + 1].eval().requires_grad_(False)
        self.heads = [heads[f"lin{k}.model.1.weight"] for k in range(len(LAST_OF_SLICE))]

    @torch.no_grad()
    def forward(self, image: Tensor, other: Tensor) -> float:
        """image, other: [H, W, 3] in [0, 1], sides of at least `SHORTEST` px. Returns: 0 where equal."""
        pair = torch.stack([image, other]).permute(0, 3, 1, 2).float().cpu() * 2 - 1
        pair = (pair - pair.new_tensor(SHIFT)[:, None, None]) / pair.new_tensor(SCALE)[:, None, None]
        total, heads = 0.0, iter(self.heads)
        for k, layer in enumerate(self.features):
            pair = layer(pair)
            if k in LAST_OF_SLICE:
                unit = pair / (pair.square().sum(dim=1, keepdim=True) + 1e-8).sqrt()
                total += float((next(heads)[0] * (unit[0] - unit[1]).square()).sum(dim=0).mean())
        return total


def perceptual() -> Perceptual | None:
    """The measure where its weights are on disk; None elsewhere: nothing is ever downloaded for a figure."""
    backbone = Path(torch.hub.get_dir()) / "checkpoints" / BACKBONE
    package = find_spec("torchmetrics")
    if not backbone.is_file() or package is None or package.origin is None:
        return None
    heads = Path(package.origin).parent / "functional" / "image" / "lpips_models" / "alex.pth"
    if not heads.is_file():
        return None
    return Perceptual(*(torch.load(path, map_location="cpu", weights_only=True) for path in (backbone, heads)))
