"""No mask: every pixel that the photo covers counts the same."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from halonerf.types import Rendering, View


class NoMask(nn.Module):
    """For photos without passers-by, and to measure what a mask gains."""

    def __init__(self) -> None:
        super().__init__()

    def initialise(self, matched: Mapping[str, Tensor], seed: int) -> None:
        """Nothing to start from."""

    def pixel_weights(
        self, name: str, view: View, shown: Rendering, photo: Tensor, valid: Tensor, step: int, progress: float
    ) -> tuple[Tensor, Tensor]:
        """One pixel like another: see `halonerf.protocols.TransientMask`."""
        return evened(valid.float()), photo.new_zeros(())

    def mask(self, name: str, view: View, shown: Rendering, photo: Tensor, valid: Tensor) -> Tensor:
        """Zeros, [H, W]."""
        return torch.zeros_like(valid, dtype=torch.float32)

    def optimiser(self) -> Optimizer | None:
        """None: nothing is learnt."""
        return None


def evened(kept: Tensor) -> Tensor:
    """Weights [H, W] of mean one, so that the mean of weighted errors is that over what is kept; zeros stay zero."""
    return kept / kept.mean().clamp(min=1e-8)
