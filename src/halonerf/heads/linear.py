"""Logistic regression on a field's features: the simplest learnt head, a measure of what the features hold."""

from __future__ import annotations

import torch
from torch import nn

from halonerf.heads.learning import LearnedElementHead


class Linear(LearnedElementHead):
    """One linear layer and a sigmoid per concept.

    Args:
        min_confidence, steps, rays, learning_rate, final_lr_fraction, targets, normalise, seed (of windows alone),
            epochs, window_from: see `halonerf.heads.learning.LearnedElementHead`.
    """

    def __init__(
        self,
        min_confidence: float = 0.05,
        steps: int = 500,
        rays: int = 7225,
        learning_rate: float = 1e-2,
        final_lr_fraction: float = 0.05,
        targets: str = "soft",
        normalise: bool = True,
        seed: int = 0,
        epochs: int | None = None,
        window_from: float | None = None,
    ) -> None:
        super().__init__(
            min_confidence, steps, rays, learning_rate, final_lr_fraction, targets, normalise, seed, epochs, window_from
        )

    def network(self, features: int, concepts: int, generator: torch.Generator) -> nn.Module:
        """See `halonerf.heads.learning.LearnedElementHead`. All weights start at 0: the problem is nearly convex."""
        layer = nn.Linear(features, concepts)
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
        return layer
