"""Adaptive density control (Kerbl et al., 3D Gaussian Splatting, 2023, section 5.2), with a budget as a hard cap."""

from __future__ import annotations

import math
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

RESET_OPACITY = 0.01  # nothing is more opaque after a reset: what is needed comes back, floaters do not


@dataclass(frozen=True)
class ThresholdStrategy:
    """Every Gaussian that is pulled harder than a threshold is doubled or split; opacities are reset now and then.

    threshold: pull, loss per half-width of the picture. reset_every: share of the fit between two resets of all
    opacities, while Gaussians are added; 0 never resets. Where more qualify than the budget allows, the hardest
    pulled come first (the paper has no budget).
    """

    limits: DensificationLimits
    threshold: float
    reset_every: float

    def __call__(self, rows: GaussianRows, step: int, progress: float, generator: Generator) -> None:
        """See `halonerf.fields.gaussians.strategies.base.DensificationStrategy`."""
        limits = self.limits
        if limits.due(step, progress) and progress >= limits.start:
            rows["log_scales"].copy_(without_needles(rows["log_scales"], limits.largest))
            keep = rows.opacities >= limits.faintest
            pull = torch.where(keep, rows["grad_norm"] / rows["seen"].clamp(min=1), 0.0)
            chosen = choose_rows(pull, limits.budget - int(keep.sum()), self.threshold)
            keep[chosen] = False
            rows.replace(keep, added_rows(rows.table(), chosen, limits.split_size, generator))
        if progress < limits.until and self._resets(progress) > self._resets(progress * step / (step + 1)):
            rows["opacity_logits"].clamp_(max=math.log(RESET_OPACITY / (1 - RESET_OPACITY)))
            rows.forget(("opacity_logits",))

    def _resets(self, progress: float) -> int:
        """How many resets belong before `progress`."""
        return int(progress / self.reset_every) if self.reset_every > 0 else 0
