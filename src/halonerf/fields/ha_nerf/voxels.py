"""The elements of a NeRF: voxels of contracted space, finer where the building is."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

INNER_SHARE = 0.75  # of a side's voxels that lie within the box; the others reach from there to infinity


class VoxelGrid(nn.Module):
    """A grid over contracted space. Elements are the cells that rays hit and, as the last one, all others together.

    Until `finalise`, every cell is an element.

    Args:
        side: cells along each axis.
        hit: weight that one sample of a ray must have had in a cell for the cell to be kept, in [0, 1].
    """

    box: Tensor  # [2, 3], centre and half extent of the uncontracted space, world units
    kept: Tensor  # int32 [K], indices of the cells that are elements, increasing
    hits: Tensor  # [side^3], largest weight of a sample that fell into each cell

    def __init__(self, side: int, hit: float) -> None:
        super().__init__()
        self.side, self.hit = side, hit
        self.register_buffer("box", torch.ones(2, 3))
        self.register_buffer("kept", torch.zeros(0, dtype=torch.int32))
        self.register_buffer("hits", torch.zeros(side**3))

    @property
    def elements(self) -> int:
        """Number of elements, E: the kept cells and one for all others."""
        return len(self.kept) + 1

    def initialise(self, points: Tensor) -> None:
        """Place the box around the middle 96 % of points [N, 3], world units, along each axis, and keep every cell."""
        low, high = torch.quantile(points, points.new_tensor([0.02, 0.98]), dim=0)
        self.box.copy_(torch.stack([(low + high) / 2, ((high - low) / 2).clamp(min=1e-3)]))
        self.kept = torch.arange(self.side**3, dtype=torch.int32, device=self.box.device)
        self.hits.zero_()

    def note(self, points: Tensor, weights: Tensor) -> None:
        """Record the weights [...] of samples at points [..., 3], world units, as hits of their cells."""
        self.hits.scatter_reduce_(0, self._cells(points).flatten(), weights.flatten(), "amax")

    def finalise(self) -> None:
        """Keep the cells that were hit as elements."""
        self.kept = (self.hits > self.hit).nonzero()[:, 0].int()

    @torch.no_grad()
    def elements_at(self, points: Tensor) -> Tensor:
        """Index of the element that holds each point, [...]. points: [..., 3], world units."""
        cell = self._cells(points)
        if not len(self.kept):
            return torch.zeros_like(cell)
        element = torch.searchsorted(self.kept, cell.to(self.kept)).clamp(max=len(self.kept) - 1)
        return torch.where(self.kept[element] == cell, element, len(self.kept))

    def centres(self) -> Tensor:
        """Centre of each element, [E, 3], world units; NaN for the last one."""
        cell = self.kept.long()
        index = torch.stack([cell // self.side**2, cell // self.side % self.side, cell % self.side], dim=1)
        centre = expand((index + 0.5) / self.side * 2 - 1, self.box)
        return torch.cat([centre, self.box[:1] * torch.nan])

    def _cells(self, points: Tensor) -> Tensor:
        index = ((contract(points, self.box) + 1) / 2 * self.side).long().clamp(0, self.side - 1)
        return (index[..., 0] * self.side + index[..., 1]) * self.side + index[..., 2]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Take the number of elements from the state."""
        if f"{prefix}kept" in state_dict:
            self.kept = torch.zeros_like(state_dict[f"{prefix}kept"], device=self.box.device)
        super()._load_from_state_dict(state_dict, prefix, *rest)


def contract(points: Tensor, box: Tensor) -> Tensor:
    """Contract all space to [-1, 1] along each axis: linear within the box, as 1 / distance beyond.

    After Barron et al. (mip-NeRF 360, 2022, eq. 10), but along each axis, so that boxes stay boxes.

    points: [..., 3], world units. box: [2, 3], centre and half extent, world units.
    """
    inside = (points - box[0]) / box[1]
    beyond = inside.sign() * (1 - (1 - INNER_SHARE) / inside.abs().clamp(min=1))
    return torch.where(inside.abs() <= 1, INNER_SHARE * inside, beyond)


def expand(points: Tensor, box: Tensor) -> Tensor:
    """World positions, [..., 3], of contracted points strictly within [-1, 1]: the inverse of `contract`."""
    away = points.abs()
    inside = torch.where(
        away <= INNER_SHARE, points / INNER_SHARE, points.sign() * (1 - INNER_SHARE) / (1 - away).clamp(min=1e-9)
    )
    return box[0] + box[1] * inside
