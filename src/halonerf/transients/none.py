"""No mask: all valid pixels have the same weight."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from halonerf.types import Rendering, View


class NoMask(nn.Module):
    """For photos without transients, and to measure the gain of a mask."""

    def __init__(self) -> None:
        super().__init__()

    def initialise(self, matched: Mapping[str, Tensor], seed: int) -> None:
        """Does nothing."""

    def pixel_weights(
        self, name: str, view: View, rendering: Rendering, photo: Tensor, valid: Tensor, step: int, progress: float
    ) -> tuple[Tensor, Tensor]:
        """See `halonerf.protocols.TransientMask`: equal weights of valid pixels, and a loss of 0."""
        return normalised(valid.float()), photo.new_zeros(())

    def mask(self, name: str, view: View, rendering: Rendering, photo: Tensor, valid: Tensor) -> Tensor:
        """Zeros, [H, W]."""
        return torch.zeros_like(valid, dtype=torch.float32)

    def optimiser(self) -> Optimizer | None:
        """None: there are no parameters."""
        return None


def normalised(weight: Tensor) -> Tensor:
    """weight [H, W], non-negative, divided by its mean: the mean of weighted errors is then a weighted mean."""
    return weight / weight.mean().clamp(min=1e-8)
