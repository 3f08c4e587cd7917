"""View-dependent colour by spherical harmonics."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def harmonics_basis(directions: Tensor, degree: int) -> Tensor:
    """The K = (degree + 1)^2 - 1 spherical harmonics above the constant one, [N, K], at unit directions [N, 3].

    Orthonormal on the sphere (Ramamoorthi and Hanrahan 2001, eq. 2, continued to degree 3). degree: 0 to 3.
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


def view_dependent_colours(means: Tensor, weights: Tensor, eye: Tensor, degree: int) -> Tensor:
    """The harmonics' share of the colour logits of Gaussians seen from a camera, [N, 3].

    Directions are held fixed: the means have no gradient.

    means: [N, 3], world units. weights: [N, 3 K], the K weights of the first colour first. eye: [3], the camera centre.
    """
    directions = F.normalize((means - eye.to(means)).detach(), dim=-1)
    return torch.einsum("nk,nck->nc", harmonics_basis(directions, degree), weights.view(len(means), 3, -1))
