"""Voxels that hold what is said about a NeRF's space: all space, finer where the building is."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

INNER = 0.75  # share of a side's voxels that lie within the box; the rest reaches from there to infinity


class VoxelGrid(nn.Module):
    """A grid over contracted space. An element is a cell that rays hit or, the last one, all the others together.

    Until `settle`, every cell is an element.

    Args:
        side: cells along each axis.
        hit: share of a ray's light that one sample must have stopped in a cell for it to be kept.
    """

    box: Tensor  # [2, 3], centre and half extent of what is seen in detail, world units
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
        """The kept cells, and one for all the others."""
        return len(self.kept) + 1

    def initialise(self, points: Tensor) -> None:
        """The box holds the middle 96 % of points [N, 3] along each axis."""
        low, high = torch.quantile(points, points.new_tensor([0.02, 0.98]), dim=0)
        self.box.copy_(torch.stack([(low + high) / 2, ((high - low) / 2).clamp(min=1e-3)]))
        self.kept = torch.arange(self.side**3, dtype=torch.int32, device=self.box.device)
        self.hits.zero_()

    def note(self, points: Tensor, weights: Tensor) -> None:
        """Samples [..., 3] stopped these shares [...] of their rays' light."""
        self.hits.scatter_reduce_(0, self._cells(points).flatten(), weights.flatten(), "amax")

    def finalise(self) -> None:
        """From now on the elements are the cells that were hit."""
        self.kept = (self.hits > self.hit).nonzero()[:, 0].int()

    @torch.no_grad()
    def elements_at(self, points: Tensor) -> Tensor:
        """The element that each of points [..., 3] lies in."""
        cell = self._cells(points)
        if not len(self.kept):
            return torch.zeros_like(cell)
        place = torch.searchsorted(self.kept, cell.to(self.kept)).clamp(max=len(self.kept) - 1)
        return torch.where(self.kept[place] == cell, place, len(self.kept))

    def centres(self) -> Tensor:
        """The middle of each element, [E, 3], world units; NaN for the last one."""
        cell = self.kept.long()
        place = torch.stack([cell // self.side**2, cell // self.side % self.side, cell % self.side], dim=1)
        middle = expand((place + 0.5) / self.side * 2 - 1, self.box)
        return torch.cat([middle, self.box[:1] * torch.nan])

    def _cells(self, points: Tensor) -> Tensor:
        place = ((contract(points, self.box) + 1) / 2 * self.side).long().clamp(0, self.side - 1)
        return (place[..., 0] * self.side + place[..., 1]) * self.side + place[..., 2]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """The number of elements is whatever the file says."""
        if f"{prefix}kept" in state_dict:
            self.kept = torch.zeros_like(state_dict[f"{prefix}kept"], device=self.box.device)
        super()._load_from_state_dict(state_dict, prefix, *rest)


def contract(points: Tensor, box: Tensor) -> Tensor:
    """Bring all space into [-1, 1] along each axis: linear within the box, as 1 / distance beyond.

    After Barron et al. (mip-NeRF 360, 2022, eq. 10), but along each axis, so that boxes stay boxes.

    points: [..., 3]. box: [2, 3], centre and half extent.
    """
    inside = (points - box[0]) / box[1]
    beyond = inside.sign() * (1 - (1 - INNER) / inside.abs().clamp(min=1))
    return torch.where(inside.abs() <= 1, INNER * inside, beyond)


def expand(points: Tensor, box: Tensor) -> Tensor:
    """The inverse of `contract`: points [..., 3] strictly within [-1, 1] -> world units."""
    away = points.abs()
    inside = torch.where(away <= INNER, points / INNER, points.sign() * (1 - INNER) / (1 - away).clamp(min=1e-9))
    return box[0] + box[1] * inside
