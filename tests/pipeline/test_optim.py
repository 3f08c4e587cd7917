"""The optimiser's rate over a fit, and what decays."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from halonerf.pipeline.optim import adamw


def rates(schedule: str, warm_up: float, steps: int = 20) -> list[float]:
    made = adamw(nn.Linear(2, 2).parameters(), 0.5, 0.1, warm_up, schedule, steps)
    found = []
    for _ in range(steps):
        found.append(made["optimizer"].param_groups[0]["lr"])
        made["optimizer"].step()
        made["lr_scheduler"]["scheduler"].step()
    return found


def test_the_rate_rises_then_falls_to_nothing():
    found = rates("cosine", warm_up=0.2)
    assert found[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert found[4:] == sorted(found[4:], reverse=True)
    assert found[12] == pytest.approx(0.25)  # half way down
    assert found[-1] == pytest.approx(0.25 * (1 + math.cos(math.pi * 15 / 16)))


def test_the_rate_may_stay():
    assert rates("constant", warm_up=0.0) == [0.5] * 20


def test_only_matrices_decay_and_only_what_learns_is_there():
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    model[2].requires_grad_(False)
    groups = adamw(model.parameters(), 0.1, 0.3, 0.0, "cosine", 10)["optimizer"].param_groups
    decays = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    assert decays == {
        id(model[0].weight): 0.3,
        id(model[0].bias): 0.0,
        id(model[1].weight): 0.0,
        id(model[1].bias): 0.0,
    }


def test_a_model_of_matrices_alone_will_do():
    assert len(adamw([nn.Parameter(torch.ones(2, 2))], 0.1, 0.3, 0.0, "cosine", 10)["optimizer"].param_groups) == 1
