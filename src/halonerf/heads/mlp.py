"""The paper's head: a small network from a field's features to concepts, fitted through the frozen field."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

import torch
from annotated_types import MinLen
from torch import Tensor, nn

from halonerf.config.option_types import Fraction, NonNegativeFloat, PositiveFloat, PositiveFraction, PositiveInt, Seed
from halonerf.heads.learning import LearnedElementHead


class Mlp(LearnedElementHead):
    """Layers of `widths` units and, for each concept, a softmax over "no" and "yes".

    The paper has one network per concept; together, concepts share all layers but the last. The paper's factor of 0.1
    before the loss is left out, as Adam is invariant to it, and so is the head of the coarse network, which shares
    nothing with the fine one and is never rendered.

    Args:
        widths: units of the hidden layers.
        together: one network for all concepts; otherwise one per concept, fitted to the same windows.
        min_confidence, steps, rays, learning_rate, final_lr_fraction, targets, normalise, seed, epochs, window_from:
            see `halonerf.heads.learning.LearnedElementHead`.
    """

    def __init__(
        self,
        widths: Annotated[Sequence[PositiveInt], MinLen(1)] = (128, 128),
        together: bool = True,
        min_confidence: NonNegativeFloat = 0.05,
        steps: PositiveInt = 1000,
        rays: PositiveInt = 7225,
        learning_rate: PositiveFloat = 6e-3,
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
        self.widths, self.together = tuple(widths), together

    def network(self, features: int, concepts: int, generator: torch.Generator) -> nn.Module:
        """See `halonerf.heads.learning.LearnedElementHead`."""
        if self.together:
            made: nn.Module = Perceptron(features, self.widths, concepts)
        else:
            made = SideBySide([Perceptron(features, self.widths, 1) for _ in range(concepts)])
        initialise(made, generator)
        return made


class Perceptron(nn.Module):
    """A network from features [N, F] to logits [N, P] of "yes" minus "no": a softmax over two is their sigmoid.

    Args:
        features: F. widths: units of the hidden layers. concepts: P.
    """

    def __init__(self, features: int, widths: Sequence[int], concepts: int) -> None:
        super().__init__()
        sizes = [features, *widths]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.to_logits = nn.Linear(sizes[-1], 2 * concepts)

    def forward(self, features: Tensor) -> Tensor:
        for layer in self.layers:
            features = torch.relu(layer(features))
        no, yes = self.to_logits(features).chunk(2, dim=1)
        return yes - no


class SideBySide(nn.Module):
    """One network per concept: features [N, F] to logits [N, P]."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([network(features) for network in self.networks], dim=1)


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Set weights and biases uniformly within 1 / sqrt(inputs), as PyTorch does, from `generator` alone."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            bound = 1 / math.sqrt(layer.in_features)
            with torch.no_grad():
                for parameter in layer.parameters():
                    parameter.copy_((2 * torch.rand(parameter.shape, generator=generator) - 1) * bound)
