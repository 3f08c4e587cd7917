"""Densification as Markov chain Monte Carlo: faint Gaussians are relocated, and noise lets them explore
(Kheradmand et al., 3D Gaussian Splatting as Markov Chain Monte Carlo, 2024).

Nothing is split or pruned. The loss must hold the mean opacity and the mean scale (`loss.terms.opacity.weight` and
`loss.terms.scale.weight`, 0.01 each in the paper), or no Gaussian becomes faint enough to be relocated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from halonerf.fields.gaussians.strategies.base import DensificationLimits, limit_scales
from halonerf.protocols import GaussianRows
from halonerf.rotations import matrices

GROWTH_FACTOR = 1.05  # of the number of Gaussians, per densification (the paper's value)
MAX_COPIES = 51  # of one Gaussian at a time; as in the authors' code, binomials beyond lose digits
GATE_SLOPE, GATE_OPACITY = 100.0, 0.005  # of the sigmoid that fades the noise with opacity (the paper's values)
MAX_NOISY_OPACITY = 0.1  # above it the noise is below 1e-4 of its size and left out


@dataclass(frozen=True)
class McmcStrategy:
    """See `halonerf.protocols.DensificationStrategy`.

    noise: on the means, in units of their learning rate times their covariance (5e5 in the paper).
    """

    limits: DensificationLimits
    noise: float

    def __call__(self, rows: GaussianRows, step: int, progress: float, generator: Generator) -> None:
        """Relocate faint Gaussians and add copies when that is due; add noise to the means after every step."""
        limits = self.limits
        if limits.due(step, progress) and progress >= limits.start:
            rows["log_scales"].copy_(limit_scales(rows["log_scales"], limits.max_scale))
            self._relocate(rows, generator)
            self._add(rows, generator)
        self._add_noise(rows, generator)

    def _relocate(self, rows: GaussianRows, generator: Generator) -> None:
        """Replace faint Gaussians by copies of others, drawn in proportion to their opacity."""
        faint = rows.opacities < self.limits.min_opacity
        if faint.all() or not faint.any():
            return
        chosen = _sample(torch.where(faint, 0.0, rows.opacities), int(faint.sum()), generator)
        self._divide(rows, chosen)
        for name in rows.names:
            rows[name][faint] = rows[name][chosen]
        rows.reset_momentum(rows.names, faint)

    def _add(self, rows: GaussianRows, generator: Generator) -> None:
        """Append copies of Gaussians, drawn in proportion to their opacity, up to the budget."""
        count = min(self.limits.budget, int(GROWTH_FACTOR * len(rows))) - len(rows)
        if count <= 0:
            return
        chosen = _sample(rows.opacities, count, generator)
        self._divide(rows, chosen)
        extra = {name: rows[name][chosen] for name in rows.names}
        rows.replace(torch.ones(len(rows), dtype=torch.bool, device=chosen.device), extra)

    def _divide(self, rows: GaussianRows, chosen: Tensor) -> None:
        """Lower opacity and scale of the chosen Gaussians so that together with their copies they render as before."""
        copies = torch.bincount(chosen, minlength=len(rows)) + 1
        copied = copies > 1
        opacities, factor = split_opacity(rows.opacities[copied], copies[copied])
        rows["opacity_logits"][copied] = torch.logit(opacities.clamp(min=self.limits.min_opacity, max=1 - 1e-6))
        rows["log_scales"][copied] += factor.log()[:, None]
        rows.reset_momentum(rows.names, copied)

    def _add_noise(self, rows: GaussianRows, generator: Generator) -> None:
        """Move the means of faint Gaussians by normal noise of their own covariance."""
        rate = next(group["lr"] for group in rows.optimiser.param_groups if group["name"] == "means")
        faint = torch.nonzero(rows.opacities < MAX_NOISY_OPACITY)[:, 0]
        gate = torch.sigmoid(-GATE_SLOPE * (rows.opacities[faint] - GATE_OPACITY))
        axes = matrices(rows["rotations"][faint]) * rows["log_scales"][faint].exp()[:, None]
        normal = torch.randn(len(faint), 3, generator=generator).to(axes)
        step = torch.einsum("nij,nkj,nk->ni", axes, axes, normal)  # the covariance times a normal number
        rows["means"][faint] += self.noise * rate * gate[:, None] * step


def split_opacity(opacities: Tensor, copies: Tensor) -> tuple[Tensor, Tensor]:
    """Opacity and scale factor, [K] each, of each of n equal Gaussians that together render as one.

    The opacity at the centre is kept, and so is the integral over space (Kheradmand et al. 2024; its two sums over
    binomials are folded into one by sum_{i<=n} C(i - 1, k) = C(n, k + 1)).

    opacities: [K] in [0, 1], of the one. copies: [K], n >= 1, of which `MAX_COPIES` at most count.
    """
    number = copies.clamp(max=MAX_COPIES)
    opacities = opacities.double()
    each = 1 - (1 - opacities) ** (1 / number)
    order = torch.arange(1, MAX_COPIES + 1, device=each.device)
    binomials = torch.tensor(
        [[math.comb(n, int(k)) for k in range(1, MAX_COPIES + 1)] for n in range(MAX_COPIES + 1)], dtype=torch.float64
    ).to(each.device)
    signs = 1 - 2 * ((order - 1) % 2)
    sums = (binomials[number] * signs * each[:, None] ** order / order.sqrt()).sum(dim=1)
    return each.float(), (opacities / sums).float()


def _sample(weights: Tensor, count: int, generator: Generator) -> Tensor:
    """Indices [count] drawn with replacement, in proportion to weights [N]; on the weights' device."""
    ends = torch.cumsum(weights.cpu().double(), dim=0)
    drawn = torch.rand(count, generator=generator, dtype=torch.float64) * ends[-1]
    return torch.searchsorted(ends, drawn, right=True).clamp(max=len(weights) - 1).to(weights.device)
