"""What all densification strategies share: limits, rows of parameters with their optimiser state, splits and clones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from halonerf.protocols import GaussianRows
from halonerf.rotations import matrices

SPLIT_SHRINK = 1.6  # a Gaussian split in two leaves each this much smaller (Kerbl et al. 2023)
MAX_AXIS_RATIO = 6.0  # of the longest axis to the middle one: longer needles show in views that were not fitted


class ParameterRows:
    """See `halonerf.protocols.GaussianRows`: the rows of a module's parameters, with an optimiser's state of them.

    Args:
        module: owns the parameters `names`, [N, ...] each, and the buffers `statistics`, [N] each.
        optimiser: of these parameters, among others.
    """

    def __init__(self, module: nn.Module, names: Sequence[str], statistics: Sequence[str], optimiser: Optimizer):
        self.module, self.names, self.statistics, self.optimiser = module, names, statistics, optimiser

    def __len__(self) -> int:
        return len(self[self.names[0]])

    def __getitem__(self, name: str) -> Tensor:
        """The values of a parameter or statistic, detached; may be written in place."""
        values: Tensor = getattr(self.module, name)
        return values.detach()

    @property
    def opacities(self) -> Tensor:
        """[N] in [0, 1]."""
        return torch.sigmoid(self["opacity_logits"])

    def table(self) -> dict[str, Tensor]:
        """All parameters by name, each [N, ...] with one row per Gaussian."""
        return {name: self[name] for name in self.names}

    def replace(self, keep: Tensor, extra: Mapping[str, Tensor]) -> None:
        """Keep the rows `keep` (bool [N]), append `extra` without momentum, and reset all statistics."""
        replace_rows(self.module, self.names, self.optimiser, keep, extra)
        for name in self.statistics:
            setattr(self.module, name, torch.zeros_like(self["opacity_logits"]))

    def reset_momentum(self, names: Sequence[str], rows: Tensor | slice = slice(None)) -> None:
        """Set the optimiser's moments of some rows of some parameters to zero."""
        for name in names:
            parameter = getattr(self.module, name)
            for value in self.optimiser.state.get(parameter, {}).values():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    value[rows] = 0


@dataclass(frozen=True)
class DensificationLimits:
    """What every strategy respects.

    budget: Gaussians at most. start, until: shares of the fit between which Gaussians are added. every: steps between
    two densifications. split_size: world units; a Gaussian with a longer axis is split, others are cloned. max_scale:
    world units, upper limit of every standard deviation. min_opacity: Gaussians below it are pruned or relocated.
    """

    budget: int
    start: float
    until: float
    every: int
    split_size: float
    max_scale: float
    min_opacity: float

    def due(self, step: int, progress: float) -> bool:
        """Whether to densify and prune after this step; progress: share of the fit that is done, (0, 1]."""
        return progress <= self.until and (step + 1) % self.every == 0


def mean_grad_norm(rows: GaussianRows) -> Tensor:
    """Mean screen-space gradient norm of each Gaussian over the steps that saw it, [N], loss per image half-width."""
    return rows["grad_norm"] / rows["seen"].clamp(min=1)


def largest_scores(scores: Tensor, count: int, floor: float) -> Tensor:
    """Indices of at most `count` rows with the largest scores [N], all above `floor`, in increasing order."""
    count = max(0, min(count, int((scores > floor).sum())))
    return torch.topk(scores, count).indices.sort().values


def split_and_clone(
    table: Mapping[str, Tensor], chosen: Tensor, split_size: float, generator: Generator
) -> dict[str, Tensor]:
    """Rows that replace the K chosen ones, [2 K, ...]: clones of small Gaussians, two smaller samples of large ones.

    table: `means`, `log_scales`, `rotations` and any others, [N, ...]. split_size: world units; a Gaussian with a
    longer axis is split.
    """
    rows = {name: values[chosen].repeat(2, *[1] * (values.dim() - 1)) for name, values in table.items()}
    scales = rows["log_scales"].exp()
    split = scales.amax(dim=1) > split_size
    noise = torch.randn(scales.shape, generator=generator).to(scales) * scales
    moved = torch.einsum("nij,nj->ni", matrices(rows["rotations"]), noise)
    # One clone stays in place and the other moves a little: equal clones would receive equal gradients for ever.
    second = torch.arange(len(split), device=split.device) >= len(chosen)
    reach = torch.where(split, 1.0, torch.where(second, 0.5, 0.0))
    rows["means"] = rows["means"] + reach[:, None] * moved
    rows["log_scales"] = torch.where(split[:, None], (scales / SPLIT_SHRINK).log(), rows["log_scales"])
    return rows


def limit_scales(log_scales: Tensor, max_scale: float) -> Tensor:
    """log_scales [N, 3] with no axis above `max_scale` (world units) or `MAX_AXIS_RATIO` times the middle axis."""
    middle = log_scales.median(dim=1, keepdim=True).values
    limit = (middle + torch.tensor(MAX_AXIS_RATIO).log()).clamp(max=float(torch.tensor(max_scale).log()))
    return torch.minimum(log_scales, limit)


def replace_rows(
    module: nn.Module, names: Sequence[str], optimiser: Optimizer, keep: Tensor, extra: Mapping[str, Tensor]
) -> None:
    """Keep the rows `keep` (bool [N]) of the named parameters, append `extra`, and update the optimiser's state.

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
