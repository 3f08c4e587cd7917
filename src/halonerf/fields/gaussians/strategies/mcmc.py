"""Growth as sampling: nothing is split or pruned, dead Gaussians move to where others are, and the faint ones wander
(Kheradmand et al., 3D Gaussian Splatting as Markov Chain Monte Carlo, 2024).

Needs the mean opacity and the mean scale in the loss (`field.opacity_weight`, `field.scale_weight`; 0.01 each in the
paper), or nothing dies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from halonerf.fields.gaussians.strategies.base import DensificationLimits, GaussianRows, without_needles
from halonerf.rotations import matrices

RATE = 1.05  # of the number, a change (the paper's value)
COPIES = 51  # at most, of one Gaussian at a time; as in the authors' code, binomials beyond lose digits
STEEP, FAINT = 100.0, 0.005  # how steeply, and around which opacity, the noise fades (the paper's values)
STILL = 0.1  # opacity above which the noise is below 1e-4 of its size and left out


@dataclass(frozen=True)
class McmcStrategy:
    """noise: of the centres, in units of their learning rate times their covariance (5e5 in the paper)."""

    limits: DensificationLimits
    noise: float

    def __call__(self, rows: GaussianRows, step: int, progress: float, generator: Generator) -> None:
        """See `halonerf.fields.gaussians.strategies.base.DensificationStrategy`."""
        limits = self.limits
        if limits.due(step, progress) and progress >= limits.start:
            rows["log_scales"].copy_(without_needles(rows["log_scales"], limits.largest))
            self._relocate(rows, generator)
            self._add(rows, generator)
        self._wander(rows, generator)

    def _relocate(self, rows: GaussianRows, generator: Generator) -> None:
        """Dead Gaussians become copies of living ones, likelier of opaque ones."""
        dead = rows.opacities < self.limits.faintest
        if dead.all() or not dead.any():
            return
        chosen = _sample(torch.where(dead, 0.0, rows.opacities), int(dead.sum()), generator)
        self._share(rows, chosen)
        for name in rows.names:
            rows[name][dead] = rows[name][chosen]
        rows.forget(rows.names, dead)

    def _add(self, rows: GaussianRows, generator: Generator) -> None:
        number = min(self.limits.budget, int(RATE * len(rows))) - len(rows)
        if number <= 0:
            return
        chosen = _sample(rows.opacities, number, generator)
        self._share(rows, chosen)
        extra = {name: rows[name][chosen] for name in rows.names}
        rows.replace(torch.ones(len(rows), dtype=torch.bool, device=chosen.device), extra)

    def _share(self, rows: GaussianRows, chosen: Tensor) -> None:
        """Make the chosen Gaussians, as often as they are chosen, fainter and smaller: with their copies they look as
        before.
        """
        copies = torch.bincount(chosen, minlength=len(rows)) + 1
        shared = copies > 1
        opacities, factor = split_opacity(rows.opacities[shared], copies[shared])
        rows["opacity_logits"][shared] = torch.logit(opacities.clamp(min=self.limits.faintest, max=1 - 1e-6))
        rows["log_scales"][shared] += factor.log()[:, None]
        rows.forget(rows.names, shared)

    def _wander(self, rows: GaussianRows, generator: Generator) -> None:
        """Noise on the centres of faint Gaussians, as wide as they are: they explore."""
        rate = next(group["lr"] for group in rows.optimiser.param_groups if group["name"] == "means")
        faint = torch.nonzero(rows.opacities < STILL)[:, 0]
        gate = torch.sigmoid(-STEEP * (rows.opacities[faint] - FAINT))
        axes = matrices(rows["rotations"][faint]) * rows["log_scales"][faint].exp()[:, None]
        normal = torch.randn(len(faint), 3, generator=generator).to(axes)
        step = torch.einsum("nij,nkj,nk->ni", axes, axes, normal)  # the covariance times a normal number
        rows["means"][faint] += self.noise * rate * gate[:, None] * step


def split_opacity(opacities: Tensor, copies: Tensor) -> tuple[Tensor, Tensor]:
    """Opacity and scale factor, [K] each, of each of `copies` >= 1 equal Gaussians that together look like one.

    The centre keeps its opacity, and so does the integral over space (Kheradmand et al. 2024; its two sums
    over binomials are folded into one by sum_{i<=n} C(i - 1, k) = C(n, k + 1)).
    """
    number = copies.clamp(max=COPIES)
    opacities = opacities.double()
    each = 1 - (1 - opacities) ** (1 / number)
    order = torch.arange(1, COPIES + 1, device=each.device)
    binomials = torch.tensor(
        [[math.comb(n, int(k)) for k in range(1, COPIES + 1)] for n in range(COPIES + 1)], dtype=torch.float64
    ).to(each.device)
    signs = 1 - 2 * ((order - 1) % 2)
    sums = (binomials[number] * signs * each[:, None] ** order / order.sqrt()).sum(dim=1)
    return each.float(), (opacities / sums).float()


def _sample(weights: Tensor, number: int, generator: Generator) -> Tensor:
    """Indices [number] drawn with replacement, each row as likely as its weight says; on the weights' device."""
    ends = torch.cumsum(weights.cpu().double(), dim=0)
    drawn = torch.rand(number, generator=generator, dtype=torch.float64) * ends[-1]
    return torch.searchsorted(ends, drawn, right=True).clamp(max=len(weights) - 1).to(weights.device)
