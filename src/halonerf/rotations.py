"""Rotations as unit quaternions wxyz, rotation vectors and matrices. q and -q are the same rotation."""

from __future__ import annotations

import torch
from torch import Tensor

MIN_SINE = 1e-12


def slerp(a: Tensor, b: Tensor, u: Tensor) -> Tensor:
    """Spherical linear interpolation along the shorter arc, [N, 4].

    a, b: [N, 4], unit quaternions. u: [N, 1] in [0, 1].
    """
    return product(a, exp(log(product(conjugate(a), b)) * u))


def product(a: Tensor, b: Tensor) -> Tensor:
    """Hamilton product of quaternions, [..., 4]: the rotation b followed by a. a, b: [..., 4]."""
    scalar = a[..., :1] * b[..., :1] - (a[..., 1:] * b[..., 1:]).sum(dim=-1, keepdim=True)
    vector = a[..., :1] * b[..., 1:] + b[..., :1] * a[..., 1:] + torch.linalg.cross(a[..., 1:], b[..., 1:])
    return torch.cat([scalar, vector], dim=-1)


def conjugate(q: Tensor) -> Tensor:
    """Conjugates, [..., 4]: the inverses of unit quaternions [..., 4]."""
    return torch.cat([q[..., :1], -q[..., 1:]], dim=-1)


def log(q: Tensor) -> Tensor:
    """Rotation vectors [..., 3], radians, at most pi long, of unit quaternions [..., 4]."""
    q = torch.where(q[..., :1] < 0, -q, q)
    sine = q[..., 1:].norm(dim=-1, keepdim=True)
    return q[..., 1:] * torch.where(
        sine > 1e-9, 2 * torch.atan2(sine, q[..., :1]) / sine.clamp(min=MIN_SINE), 2 / q[..., :1]
    )


def exp(vectors: Tensor) -> Tensor:
    """Unit quaternions [..., 4] of rotation vectors [..., 3], radians."""
    half = vectors.norm(dim=-1, keepdim=True) / 2
    return torch.cat([torch.cos(half), vectors / 2 * torch.sinc(half / torch.pi)], dim=-1)


def quaternions(rotations: Tensor) -> Tensor:
    """Unit quaternions [N, 4] of rotation matrices [N, 3, 3], by the best conditioned of four formulas."""
    m = rotations.flatten(1)
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = m.unbind(1)
    candidates = torch.stack(
        [
            torch.stack([1 + m00 + m11 + m22, m21 - m12, m02 - m20, m10 - m01], dim=1),
            torch.stack([m21 - m12, 1 + m00 - m11 - m22, m10 + m01, m02 + m20], dim=1),
            torch.stack([m02 - m20, m10 + m01, 1 - m00 + m11 - m22, m21 + m12], dim=1),
            torch.stack([m10 - m01, m02 + m20, m21 + m12, 1 - m00 - m11 + m22], dim=1),
        ],
        dim=1,
    )
    best = candidates.diagonal(dim1=1, dim2=2).argmax(dim=1)
    return torch.nn.functional.normalize(candidates[torch.arange(len(m)), best], dim=1)


def matrices(q: Tensor) -> Tensor:
    """Rotation matrices [N, 3, 3] of quaternions [N, 4] of any non-zero length."""
    w, x, y, z = torch.nn.functional.normalize(q, dim=-1).unbind(-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
