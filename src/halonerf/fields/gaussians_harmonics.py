"""Colour that changes with the direction of sight: real spherical harmonics up to degree 3, without the constant."""

from __future__ import annotations

import torch
from torch import Tensor

DEGREES = 3


def basis(directions: Tensor, degree: int) -> Tensor:
    """Values of the (degree + 1)^2 - 1 harmonics above the constant one at unit directions [N, 3]: [N, K].

    Orthonormal on the sphere (Ramamoorthi and Hanrahan 2001, eq. 2, continued to degree 3).
    """
    x, y, z = directions.unbind(dim=-1)
    values: list[Tensor] = []
    if degree >= 1:
        values += [0.48860251 * y, 0.48860251 * z, 0.48860251 * x]
    if degree >= 2:
        values += [
            1.09254843 * x * y, 1.09254843 * y * z, 0.31539157 * (3 * z * z - 1), 1.09254843 * x * z,
            0.54627421 * (x * x - y * y),
        ]  # fmt: skip
    if degree >= 3:
        values += [
            0.59004359 * y * (3 * x * x - y * y), 2.89061144 * x * y * z, 0.45704580 * y * (5 * z * z - 1),
            0.37317633 * z * (5 * z * z - 3), 0.45704580 * x * (5 * z * z - 1), 1.44530572 * z * (x * x - y * y),
            0.59004359 * x * (x * x - 3 * y * y),
        ]  # fmt: skip
    return torch.stack(values, dim=-1) if values else directions.new_zeros(len(directions), 0)


def seen_from(means: Tensor, weights: Tensor, centre: Tensor, degree: int) -> Tensor:
    """What harmonics add to each colour logit of Gaussians seen from `centre` [3]: [N, 3].

    means: [N, 3]. weights: [N, 3 K], the K weights of the first colour first. Directions are held fixed.
    """
    directions = torch.nn.functional.normalize((means - centre.to(means)).detach(), dim=-1)
    return torch.einsum("nk,nck->nc", basis(directions, degree), weights.view(len(means), 3, -1))
