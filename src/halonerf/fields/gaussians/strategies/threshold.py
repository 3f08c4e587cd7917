"""Adaptive density control (Kerbl et al., 3D Gaussian Splatting, 2023, section 5.2), with a budget as a hard cap."""

from __future__ import annotations

import math
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

RESET_OPACITY = 0.01  # upper limit of all opacities after a reset: needed Gaussians recover, floaters do not


@dataclass(frozen=True)
class ThresholdStrategy:
    """See `halonerf.protocols.DensificationStrategy`: splits or clones every Gaussian above a gradient norm.

    grad_threshold: gradient norm, loss per image half-width. reset_every: share of the fit between two resets of all
    opacities while Gaussians are added; 0: none. Where more Gaussians qualify than the budget allows, those of the
    largest gradient norm are taken (the paper has no budget).
    """

    limits: DensificationLimits
    grad_threshold: float
    reset_every: float

    def __call__(self, rows: GaussianRows, step: int, progress: float, generator: Generator) -> None:
        """Prune faint Gaussians, split or clone those above the threshold, and reset opacities when that is due."""
        limits = self.limits
        if limits.due(step, progress) and progress >= limits.start:
            rows["log_scales"].copy_(limit_scales(rows["log_scales"], limits.max_scale))
            keep = rows.opacities >= limits.min_opacity
            grad_norm = torch.where(keep, mean_grad_norm(rows), 0.0)
            chosen = largest_scores(grad_norm, limits.budget - int(keep.sum()), self.grad_threshold)
            keep[chosen] = False
            rows.replace(keep, split_and_clone(rows.table(), chosen, limits.split_size, generator))
        if progress < limits.until and self._resets(progress) > self._resets(progress * step / (step + 1)):
            rows["opacity_logits"].clamp_(max=math.log(RESET_OPACITY / (1 - RESET_OPACITY)))
            rows.reset_momentum(("opacity_logits",))

    def _resets(self, progress: float) -> int:
        """Number of resets due by `progress`."""
        return int(progress / self.reset_every) if self.reset_every > 0 else 0
