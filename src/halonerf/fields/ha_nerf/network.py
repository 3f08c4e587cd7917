"""The networks of a NeRF in the wild: density and colour of a point, seen from a direction, in a light."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SKIP = 4  # the layer that sees the position again (Mildenhall et al., NeRF, 2020, figure 7)


def frequencies(values: Tensor, count: int) -> Tensor:
    """The values [N, D] and sin, cos of 2^k times them, k < count: [N, D (1 + 2 count)] (NeRF, eq. 4, without pi)."""
    waves = [values]
    for k in range(count):
        waves += [torch.sin(2.0**k * values), torch.cos(2.0**k * values)]
    return torch.cat(waves, dim=-1)


class Trunk(nn.Module):
    """Position -> density and a feature: `depth` layers with a skip (NeRF, figure 7).

    Args:
        position_frequencies: octaves of the position's encoding.
        width: units of a layer.
        depth: layers.
    """

    def __init__(self, position_frequencies: int, width: int, depth: int) -> None:
        super().__init__()
        self.position_frequencies = position_frequencies
        given = 3 * (1 + 2 * position_frequencies)
        sizes = [given if k == 0 else width + given if k == SKIP else width for k in range(depth)]
        self.layers = nn.ModuleList(nn.Linear(size, width) for size in sizes)
        self.to_density = nn.Linear(width, 1)

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """points [N, 3], about within a few units of 0. Returns: density [N], non-negative; feature [N, width]."""
        given = frequencies(points, self.position_frequencies)
        hidden = given
        for k, layer in enumerate(self.layers):
            hidden = F.relu(layer(torch.cat([given, hidden], dim=1) if k == SKIP else hidden), inplace=True)
        return F.softplus(self.to_density(hidden)[:, 0]), hidden


class Colour(nn.Module):
    """Feature, direction and code -> colour. A coarse network knows no code.

    One layer of half the width over all three together (Martin-Brualla et al., NeRF-W, 2021), written as a sum: what
    direction and code say is the same for all samples of a ray and of a picture, so it is worked out once for each.

    Args:
        width: units of the trunk.
        direction_frequencies: octaves of the direction's encoding.
        code_size: numbers in a code; 0: without.
    """

    def __init__(self, width: int, direction_frequencies: int, code_size: int) -> None:
        super().__init__()
        self.direction_frequencies = direction_frequencies
        self.bottleneck = nn.Linear(width, width)
        self.from_feature = nn.Linear(width, width // 2)
        self.from_direction = nn.Linear(3 * (1 + 2 * direction_frequencies), width // 2, bias=False)
        self.from_code = nn.Linear(code_size, width // 2, bias=False) if code_size else None
        self.to_colour = nn.Linear(width // 2, 3)

    def seen(self, feature: Tensor, directions: Tensor) -> Tensor:
        """What is there before any light: feature [R S, width], unit directions [R, 3] -> [R, S, width / 2]."""
        weight = self.from_feature.weight @ self.bottleneck.weight  # two linear layers in a row are one
        bias = self.from_feature.weight @ self.bottleneck.bias + self.from_feature.bias
        base = F.linear(feature, weight, bias).view(len(directions), -1, self.to_colour.in_features)
        return base + self.from_direction(frequencies(directions, self.direction_frequencies))[:, None]

    def forward(self, seen: Tensor, code: Tensor | None) -> Tensor:
        """Colour in [0, 1], [R, S, 3], of what `seen` gave, in the light of a code [A]."""
        assert (code is None) == (self.from_code is None)
        hidden = seen if self.from_code is None else seen + self.from_code(code)
        return torch.sigmoid(self.to_colour(F.relu(hidden, inplace=self.from_code is not None)))
