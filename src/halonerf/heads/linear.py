"""Logistic regression on a field's features: the simplest learnt head, a measure of what the features hold."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from halonerf.config.option_types import Fraction, NonNegativeFloat, PositiveFloat, PositiveFraction, PositiveInt, Seed
from halonerf.heads.learning import LearnedElementHead


class Linear(LearnedElementHead):
    """One linear layer and a sigmoid per concept.

    Args:
        min_confidence, steps, rays, learning_rate, final_lr_fraction, targets, normalise, seed (of windows alone),
            epochs, window_from: see `halonerf.heads.learning.LearnedElementHead`.
    """

    def __init__(
        self,
        min_confidence: NonNegativeFloat = 0.05,
        steps: PositiveInt = 500,
        rays: PositiveInt = 7225,
        learning_rate: PositiveFloat = 1e-2,
        final_lr_fraction: Fraction = 0.05,
        targets: Literal["soft", "paper"] = "soft",
        normalise: bool = True,
        seed: Seed = 0,
        epochs: PositiveInt | None = None,
        window_from: PositiveFraction | None = None,
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
