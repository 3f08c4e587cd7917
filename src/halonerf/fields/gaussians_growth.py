"""Where detail is missing, Gaussians are added; where they do nothing, they go (Kerbl et al. 2023, section 5.2).

Instead of a threshold, the number to add follows a schedule towards a budget, and the Gaussians whose centres are
pulled hardest come first (as in Mallick et al., Taming 3DGS, 2024), so that a fit's time and memory are known.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from halonerf.splatting.reference import matrices

SPLIT_SHRINK = 1.6  # a Gaussian split in two leaves each this much smaller (Kerbl et al. 2023)
NEEDLE = 6.0  # largest ratio of the longest axis to the middle one: longer needles show in unseen views


def target_number(first: int, budget: int, progress: float) -> int:
    """How many Gaussians there should be at `progress` in [0, 1] of the growing phase: quick first, then slowing."""
    share = min(max(progress, 0.0), 1.0)
    return max(first, int(first + (budget - first) * (2 * share - share * share)))


def choose(pull: Tensor, number: int, floor: float) -> Tensor:
    """Indices of at most `number` Gaussians with the largest pull [N], all above `floor`, in their order."""
    number = min(number, int((pull > floor).sum()))
    return torch.topk(pull, number).indices.sort().values if number > 0 else torch.empty(0, dtype=torch.long)


def grown(table: Mapping[str, Tensor], chosen: Tensor, large: float, generator: torch.Generator) -> dict[str, Tensor]:
    """What takes the place of the chosen rows: each small Gaussian twice, each large one as two smaller samples of it.

    table: `means`, `log_scales`, `rotations` and any others, [N, ...]. large: world units, largest axis.
    Returns: rows to append, [2 K, ...]; the chosen ones are to be removed.
    """
    rows = {name: values[chosen].repeat(2, *[1] * (values.dim() - 1)) for name, values in table.items()}
    scales = rows["log_scales"].exp()
    split = scales.amax(dim=1) > large
    noise = torch.randn(scales.shape, generator=generator) * scales
    moved = torch.einsum("nij,nj->ni", matrices(rows["rotations"]), noise)
    half = len(chosen)
    rows["means"] = rows["means"] + torch.where(split[:, None], moved, torch.zeros_like(moved))
    # A clone stays where it is and its twin moves a little: equal twins would receive equal gradients for ever.
    twin = torch.zeros(len(split), dtype=torch.bool)
    twin[half:] = True
    rows["means"] = rows["means"] + torch.where((twin & ~split)[:, None], 0.5 * moved, torch.zeros_like(moved))
    shrink = torch.where(split, torch.tensor(SPLIT_SHRINK), torch.tensor(1.0)).log()
    rows["log_scales"] = rows["log_scales"] - shrink[:, None]
    return rows


def without_needles(log_scales: Tensor, largest: float) -> Tensor:
    """log_scales [N, 3] with no axis above `largest` (world units) or `NEEDLE` times the middle axis."""
    middle = log_scales.median(dim=1, keepdim=True).values
    limit = (middle + torch.tensor(NEEDLE).log()).clamp(max=float(torch.tensor(largest).log()))
    return torch.minimum(log_scales, limit)


def replace_rows(
    module: nn.Module, names: tuple[str, ...], optimiser: Optimizer, keep: Tensor, extra: Mapping[str, Tensor]
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
