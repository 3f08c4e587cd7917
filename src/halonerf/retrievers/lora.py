"""Low-rank adaptation of linear layers (Hu et al., "LoRA", ICLR 2022)."""

from __future__ import annotations

import math
import re

import torch.nn.functional as F
from torch import Tensor, nn

IN_BLOCK = re.compile(r"\blayers\.\d+\.")  # matches the name of a module inside a repeated block


class LoraLinear(nn.Linear):
    """y = W x + b + (alpha / rank) U D x (eq. 3), with W and b frozen; U starts at zero, so that y starts unchanged.

    `weight` and `bias` keep their names, so that a state dict written without the adapter still fits.
    """

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=False, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.requires_grad_(False)
        self.lora_down = nn.Parameter(linear.weight.new_empty(rank, linear.in_features))
        self.lora_up = nn.Parameter(linear.weight.new_zeros(linear.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_down, a=math.sqrt(5))  # as the authors' code does
        self.gain = alpha / rank

    def forward(self, x: Tensor) -> Tensor:
        """[..., out] of x [..., in]."""
        return super().forward(x) + self.gain * F.linear(F.linear(x, self.lora_down), self.lora_up)

    def merged(self) -> Tensor:
        """Weights [out, in] of the plain linear layer that computes the same."""
        return (self.weight + self.gain * self.lora_up @ self.lora_down).detach()


def add_lora(model: nn.Module, rank: int, alpha: float) -> int:
    """Freeze `model` and add an adapter to every linear layer inside its repeated blocks (`layers.<number>`).

    Attention and feed-forward layers alike (He et al., "Towards a Unified View", ICLR 2022: both help); embeddings,
    norms and projections stay as they are. Returns: the number of adapted layers.
    """
    model.requires_grad_(False)
    inside = [
        (name, module) for name, module in model.named_modules() if type(module) is nn.Linear and IN_BLOCK.search(name)
    ]
    for name, linear in inside:
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, LoraLinear(linear, rank, alpha))
    return len(inside)


def merged_state(model: nn.Module) -> dict[str, Tensor]:
    """State dict of `model` without adapters: each is added to the weights that it adapts."""
    state = {name: value for name, value in model.state_dict().items() if ".lora_" not in name}
    for name, module in model.named_modules():
        if isinstance(module, LoraLinear):
            state[f"{name}.weight"] = module.merged()
    return state
