"""Densification to a budget: a schedule sets how many Gaussians are split or cloned, largest gradient norm first.

Splits and clones are those of Kerbl et al. 2023, section 5.2. That the number follows a schedule, so that time and
memory of a fit are known, is the idea of Mallick et al., Taming 3DGS, 2024.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator

from halonerf.fields.gaussians.strategies.base import (
    DensificationLimits,
    largest_scores,
    limit_scales,
    mean_grad_norm,
    split_and_clone,
)
from halonerf.protocols import GaussianRows


@dataclass(frozen=True)
class BudgetStrategy:
    """See `halonerf.protocols.DensificationStrategy`.

    initial: Gaussians at the start. min_grad: gradient norm (loss per image half-width) below which nothing is split.
    """

    limits: DensificationLimits
    initial: int
    min_grad: float

    def __call__(self, rows: GaussianRows, step: int, progress: float, generator: Generator) -> None:
        """Prune faint Gaussians, then split or clone as many as the schedule lacks."""
        limits = self.limits
        if not limits.due(step, progress):
            return
        rows["log_scales"].copy_(limit_scales(rows["log_scales"], limits.max_scale))
        keep = rows.opacities >= limits.min_opacity
        grad_norm = torch.where(keep, mean_grad_norm(rows), 0.0)
        share = (progress - limits.start) / max(limits.until - limits.start, 1e-9)
        missing = target_number(self.initial, limits.budget, share) - int(keep.sum()) if share > 0 else 0
        chosen = largest_scores(grad_norm, missing, self.min_grad)
        keep[chosen] = False
        rows.replace(keep, split_and_clone(rows.table(), chosen, limits.split_size, generator))


def target_number(initial: int, budget: int, progress: float) -> int:
    """Number of Gaussians at `progress` in [0, 1] of the growing phase: a parabola that flattens towards the budget."""
    share = min(max(progress, 0.0), 1.0)
    return max(initial, int(initial + (budget - initial) * (2 * share - share * share)))
