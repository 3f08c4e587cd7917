"""Growth to a budget: where centres are pulled hardest, as many Gaussians are added as a schedule asks for.

Splitting and doubling are those of Kerbl et al. 2023, section 5.2; that the number follows a schedule, with the most
urgent first, is the idea of Mallick et al., Taming 3DGS, 2024: a fit's time and memory are known.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator

from halonerf.fields.gaussians.strategies.base import (
    DensificationLimits,
    GaussianRows,
    added_rows,
    choose_rows,
    without_needles,
)


@dataclass(frozen=True)
class BudgetStrategy:
    """The default. first: Gaussians at the start. floor: pull (loss per half-width of the picture) that counts."""

    limits: DensificationLimits
    first: int
    floor: float

    def __call__(self, rows: GaussianRows, step: int, progress: float, generator: Generator) -> None:
        """See `halonerf.fields.gaussians.strategies.base.DensificationStrategy`."""
        limits = self.limits
        if not limits.due(step, progress):
            return
        rows["log_scales"].copy_(without_needles(rows["log_scales"], limits.largest))
        keep = rows.opacities >= limits.faintest
        pull = torch.where(keep, rows["grad_norm"] / rows["seen"].clamp(min=1), 0.0)
        share = (progress - limits.start) / max(limits.until - limits.start, 1e-9)
        missing = target_number(self.first, limits.budget, share) - int(keep.sum()) if share > 0 else 0
        chosen = choose_rows(pull, missing, self.floor)
        keep[chosen] = False
        rows.replace(keep, added_rows(rows.table(), chosen, limits.split_size, generator))


def target_number(first: int, budget: int, progress: float) -> int:
    """How many Gaussians there should be at `progress` in [0, 1] of the growing phase: quick first, then slowing."""
    share = min(max(progress, 0.0), 1.0)
    return max(first, int(first + (budget - first) * (2 * share - share * share)))
