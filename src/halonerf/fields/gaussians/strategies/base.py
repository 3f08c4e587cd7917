"""Gaussians come and go during a fit: what every strategy of growth shares.

A strategy is called after every step of the optimiser; it decides when to act. All it reads is in the table `GaussianRows`,
and its chance comes from a generator seeded by the seed and the step alone, so that a fit can be resumed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from halonerf.rotations import matrices

SPLIT_SHRINK = 1.6  # a Gaussian split in two leaves each this much smaller (Kerbl et al. 2023)
NEEDLE = 6.0  # largest ratio of the longest axis to the middle one: longer needles show in unseen views


class GaussianRows:
    """The parameters of a field's Gaussians, what its optimiser remembers of them, and statistics; a row is one.

    Args:
        module: owns the parameters `names`, [N, ...] each, and the buffers `statistics`, [N] each.
    """

    def __init__(self, module: nn.Module, names: Sequence[str], statistics: Sequence[str], optimiser: Optimizer):
        self.module, self.names, self.statistics, self.optimiser = module, names, statistics, optimiser

    def __len__(self) -> int:
        return len(self[self.names[0]])

    def __getitem__(self, name: str) -> Tensor:
        """A parameter's values or a statistic, to be read, or written in place."""
        values: Tensor = getattr(self.module, name)
        return values.detach()

    @property
    def opacities(self) -> Tensor:
        """[N], in [0, 1]."""
        return torch.sigmoid(self["opacity_logits"])

    def table(self) -> dict[str, Tensor]:
        """Every parameter by its name."""
        return {name: self[name] for name in self.names}

    def replace(self, keep: Tensor, extra: Mapping[str, Tensor]) -> None:
        """Keep the rows `keep` (bool [N]) and append `extra`; new rows have no momentum, statistics begin anew."""
        replace_rows(self.module, self.names, self.optimiser, keep, extra)
        self.begin_anew()

    def begin_anew(self) -> None:
        """Set all statistics to zero."""
        for name in self.statistics:
            setattr(self.module, name, torch.zeros_like(self["opacity_logits"]))

    def forget(self, names: Sequence[str], rows: Tensor | slice = slice(None)) -> None:
        """Take the momentum of some parameters' rows away."""
        for name in names:
            parameter = getattr(self.module, name)
            for value in self.optimiser.state.get(parameter, {}).values():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    value[rows] = 0


@dataclass(frozen=True)
class DensificationLimits:
    """What all strategies keep.

    budget: Gaussians at most. start, until: shares of the fit between which Gaussians are added. every: steps between
    two changes. split_size: world units, largest axis of a Gaussian that is doubled, not split. largest: world units,
    no axis grows longer. faintest: a Gaussian with less opacity does nothing.
    """

    budget: int
    start: float
    until: float
    every: int
    split_size: float
    largest: float
    faintest: float

    def due(self, step: int, progress: float) -> bool:
        """Whether the Gaussians change after this step; progress: share of the fit that is done, (0, 1]."""
        return progress <= self.until and (step + 1) % self.every == 0


class DensificationStrategy(Protocol):
    """A strategy."""

    def __call__(self, rows: GaussianRows, step: int, progress: float, generator: Generator) -> None:
        """After an optimiser's step, without gradients. progress: share of the fit that is done, (0, 1]."""


def choose_rows(scores: Tensor, number: int, floor: float) -> Tensor:
    """Indices of at most `number` rows with the largest scores [N], all above `floor`, in their order."""
    number = max(0, min(number, int((scores > floor).sum())))
    return torch.topk(scores, number).indices.sort().values


def added_rows(table: Mapping[str, Tensor], chosen: Tensor, large: float, generator: Generator) -> dict[str, Tensor]:
    """What takes the place of the chosen rows: each small Gaussian twice, each large one as two smaller samples of it.

    table: `means`, `log_scales`, `rotations` and any others, [N, ...]. large: world units, largest axis.
    Returns: rows to append, [2 K, ...]; the chosen ones are to be removed.
    """
    rows = {name: values[chosen].repeat(2, *[1] * (values.dim() - 1)) for name, values in table.items()}
    scales = rows["log_scales"].exp()
    split = scales.amax(dim=1) > large
    noise = torch.randn(scales.shape, generator=generator).to(scales) * scales
    moved = torch.einsum("nij,nj->ni", matrices(rows["rotations"]), noise)
    # A clone stays where it is and its twin moves a little: equal twins would receive equal gradients for ever.
    twin = torch.arange(len(split), device=split.device) >= len(chosen)
    reach = torch.where(split, 1.0, torch.where(twin, 0.5, 0.0))
    rows["means"] = rows["means"] + reach[:, None] * moved
    rows["log_scales"] = torch.where(split[:, None], (scales / SPLIT_SHRINK).log(), rows["log_scales"])
    return rows


def without_needles(log_scales: Tensor, largest: float) -> Tensor:
    """log_scales [N, 3] with no axis above `largest` (world units) or `NEEDLE` times the middle axis."""
    middle = log_scales.median(dim=1, keepdim=True).values
    limit = (middle + torch.tensor(NEEDLE).log()).clamp(max=float(torch.tensor(largest).log()))
    return torch.minimum(log_scales, limit)


def replace_rows(
    module: nn.Module, names: Sequence[str], optimiser: Optimizer, keep: Tensor, extra: Mapping[str, Tensor]
) -> None:
    """Keep the rows `keep` of the named parameters, append `extra`, and let the optimiser's memory follow.

    New rows start without momentum.
    """
    for name in names:
        old: nn.Parameter = getattr(module, name)
        new = nn.Parameter(torch.cat([old.detach()[keep], extra[name]]))
        setattr(module, name, new)
        for group in optimiser.param_groups:
            group["params"] = [new if p is old else p for p in group["params"]]
        state = optimiser.state.pop(old, None)
        if state is not None:
            for key, value in state.items():
                if isinstance(value, Tensor) and value.shape == old.shape:
                    state[key] = torch.cat([value[keep], torch.zeros_like(extra[name])])
            optimiser.state[new] = state
