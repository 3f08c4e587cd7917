"""Small corrections of camera poses that are optimised together with a field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from halonerf.types import View


class CameraCorrections(nn.Module):
    """A small rotation w and translation v of every fitted camera, in the world frame: R' = exp(w) R, c' = c + v.

    If the field follows, no rendering changes when all cameras move as one rigid body or are scaled about the origin;
    but field and held-out cameras would no longer match. That part is therefore projected out: to first order, the
    corrections hold no common motion.

    Args:
        views: the fitted cameras.
    """

    raw: Tensor  # [V, 6], radians and world units, common motion included
    common: Tensor  # [6 V, at most 7], orthonormal basis of the common motions

    def __init__(self, views: Sequence[View]) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.zeros(len(views), 6))
        centres = torch.stack([v.centre for v in views]).double()
        self.register_buffer("common", _common_motions(centres).float(), persistent=False)

    def values(self) -> Tensor:
        """Rotation vector (radians) and translation (world units) of every camera, [V, 6], without common motion."""
        flat = self.raw.flatten()
        return (flat - self.common @ (self.common.T @ flat)).view(-1, 6)

    def corrected(self, view: View, place: int) -> View:
        """The view with the correction of fitted camera number `place`; differentiable in it."""
        turn, shift = self.values()[place].to(view.camera_to_world).split(3)
        rotation = torch.linalg.matrix_exp(skew(turn)) @ view.camera_to_world[:, :3]
        return replace(view, camera_to_world=torch.cat([rotation, (view.centre + shift)[:, None]], dim=1))


def skew(vectors: Tensor) -> Tensor:
    """Matrices of the cross product with each vector: [..., 3] -> [..., 3, 3]."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))


def _common_motions(centres: Tensor) -> Tensor:
    """Orthonormal basis [6 V, K] of rotating, translating and scaling all cameras together. centres: [V, 3]."""
    count = len(centres)
    axes = torch.eye(3, dtype=centres.dtype).expand(count, 3, 3)
    zeros = torch.zeros_like(axes)
    turning = torch.cat([axes, torch.linalg.cross(axes, centres[:, None].expand(-1, 3, -1))], dim=2)
    shifting = torch.cat([zeros, axes], dim=2)
    scaling = torch.cat([zeros[:, :1], centres[:, None]], dim=2)
    motions = torch.cat([turning, shifting, scaling], dim=1)  # [V, 7, 6]
    basis, strength, _ = torch.linalg.svd(motions.transpose(1, 2).flatten(0, 1), full_matrices=False)
    return basis[:, strength > 1e-6 * strength[0]]
