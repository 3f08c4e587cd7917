"""Surface normals of a field of Gaussians: on a surface they lie flat, so that the shortest axis stands up."""

from __future__ import annotations

import torch
from torch import Tensor

from halonerf.paths_spline import matrices


def facing_normals(means: Tensor, log_scales: Tensor, rotations: Tensor, eye: Tensor) -> Tensor:
    """Shortest axes [N, 3], unit length, world frame, turned towards the camera's centre `eye` [3].

    means, log_scales: [N, 3], world units. rotations: [N, 4], wxyz. (As in Chen et al., NeuSG, 2023.)
    Differentiable in rotations; which axis is shortest and which side faces the camera are choices.
    """
    shortest = log_scales.argmin(dim=1)
    axes = matrices(rotations).gather(2, shortest[:, None, None].expand(-1, 3, 1))[..., 0]
    away = (axes * (means - eye.to(means))).sum(dim=1, keepdim=True) > 0
    return torch.where(away, -axes, axes)
