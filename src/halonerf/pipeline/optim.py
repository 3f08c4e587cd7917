"""AdamW with a rate that rises, then falls or stays, in the form in which Lightning takes it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch.nn import Parameter


def adamw(
    parameters: Iterable[Parameter], rate: float, decay: float, warm_up: float, schedule: str, steps: int
) -> dict[str, Any]:
    """An optimiser of what requires a gradient, and its schedule; biases, norms and single numbers do not decay.

    Args:
        rate: the highest. warm_up: share of the `steps` in which it rises in a line. schedule: of the rest, "cosine"
            (to zero at the end) or "constant".
    """
    learnt = [parameter for parameter in parameters if parameter.requires_grad]
    groups = [
        {"params": [p for p in learnt if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in learnt if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW([group for group in groups if group["params"]], lr=rate)
    rising = round(warm_up * steps)

    def share(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        done = (step - rising) / max(1, steps - rising)
        return 1.0 if schedule == "constant" else 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, share)
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
