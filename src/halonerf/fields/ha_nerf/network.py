"""The networks of a NeRF in the wild: density of a point, and its colour in a direction under an appearance code."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SKIP_LAYER = 4  # the layer that takes the encoded position again (Mildenhall et al., NeRF, 2020, figure 7)


def frequencies(values: Tensor, count: int) -> Tensor:
    """Positional encoding: values [N, D] and sin, cos of 2^k times them, k < count (NeRF, eq. 4, without pi).

    Returns: [N, D (1 + 2 count)].
    """
    waves = [values]
    for k in range(count):
        waves += [torch.sin(2.0**k * values), torch.cos(2.0**k * values)]
    return torch.cat(waves, dim=-1)


class Trunk(nn.Module):
    """Density and a feature at a position: `depth` layers with a skip connection (NeRF, figure 7).

    Args:
        position_frequencies: octaves of the position's encoding.
        width: units of a layer.
        depth: layers.
    """

    def __init__(self, position_frequencies: int, width: int, depth: int) -> None:
        super().__init__()
        self.position_frequencies = position_frequencies
        encoded = 3 * (1 + 2 * position_frequencies)
        sizes = [encoded if k == 0 else width + encoded if k == SKIP_LAYER else width for k in range(depth)]
        self.layers = nn.ModuleList(nn.Linear(size, width) for size in sizes)
        self.to_density = nn.Linear(width, 1)

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Density [N], non-negative, and feature [N, width] at points [N, 3], within a few units of 0."""
        encoded = frequencies(points, self.position_frequencies)
        hidden = encoded
        for k, layer in enumerate(self.layers):
            hidden = F.relu(layer(torch.cat([encoded, hidden], dim=1) if k == SKIP_LAYER else hidden), inplace=True)
        return F.softplus(self.to_density(hidden)[:, 0]), hidden


class Colour(nn.Module):
    """Colour from feature, direction and appearance code; the coarse network's takes no code.

    One layer of half the width over all three together (Martin-Brualla et al., NeRF-W, 2021), evaluated as a sum: the
    share of the direction is the same for all samples of a ray, that of the code for a whole image, and each is
    computed once.

    Args:
        width: units of the trunk.
        direction_frequencies: octaves of the direction's encoding.
        code_size: A, numbers in a code; 0: none.
    """

    def __init__(self, width: int, direction_frequencies: int, code_size: int) -> None:
        super().__init__()
        self.direction_frequencies = direction_frequencies
        self.sizes = (width, 3 * (1 + 2 * direction_frequencies), code_size)
        self.bottleneck = nn.Linear(width, width)
        self.joint = nn.Linear(sum(self.sizes), width // 2)
        self.to_colour = nn.Linear(width // 2, 3)

    def base(self, feature: Tensor, directions: Tensor, relit: bool = False) -> Tensor:
        """The hidden layer without the code, [R, S, width / 2].

        feature: [R S, width]. directions: [R, 3], unit length. relit: the gradient ends before the hidden layer's
        inputs, and reaches its weights alone (Chen et al., Ha-NeRF, 2022, for the image under another photo's code).
        """
        from_feature, from_direction, _ = self.joint.weight.split(self.sizes, dim=1)
        inner = (self.bottleneck.weight, self.bottleneck.bias, feature, directions)
        inner_weight, inner_bias, feature, directions = (x.detach() if relit else x for x in inner)
        weight = from_feature @ inner_weight  # two linear layers in a row are one
        bias = from_feature @ inner_bias + self.joint.bias
        hidden = F.linear(feature, weight, bias).view(len(directions), -1, self.to_colour.in_features)
        waves = frequencies(directions, self.direction_frequencies)
        return hidden + F.linear(waves, from_direction)[:, None]

    def forward(self, base: Tensor, code: Tensor | None) -> Tensor:
        """Colour [R, S, 3] in [0, 1] from the result of `base` under a code [A]."""
        assert (code is None) == (self.sizes[2] == 0)
        hidden = base if code is None else base + F.linear(code, self.joint.weight.split(self.sizes, dim=1)[2])
        return torch.sigmoid(self.to_colour(F.relu(hidden, inplace=code is not None)))
