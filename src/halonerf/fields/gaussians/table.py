"""The parameters of 3D Gaussians as one table with a row per Gaussian."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from halonerf.rotations import matrices

PARAMETERS = ("means", "log_scales", "rotations", "opacity_logits", "colour_logits", "features", "harmonics")
STATISTICS = ("grad_norm", "seen")


class GaussianTable(nn.Module):
    """The parameters named in `PARAMETERS` and the running statistics of a fit named in `STATISTICS`.

    Args:
        feature_size: F, numbers in a Gaussian's feature.
        harmonics: K, spherical harmonics above the constant one.
    """

    means: Tensor  # [N, 3], world units
    log_scales: Tensor  # [N, 3], logarithms of the three standard deviations in world units
    rotations: Tensor  # [N, 4], quaternions wxyz of any non-zero length
    opacity_logits: Tensor  # [N]
    colour_logits: Tensor  # [N, 3]
    features: Tensor  # [N, F]
    harmonics: Tensor  # [N, 3 K]
    grad_norm: Tensor  # [N], sum since the last densification of the screen-space gradient norm, per image half-width
    seen: Tensor  # [N], number of those steps in which the norm was not zero

    def __init__(self, feature_size: int, harmonics: int) -> None:
        super().__init__()
        self._widths = {
            "means": 3, "log_scales": 3, "rotations": 4, "colour_logits": 3, "features": feature_size,
            "harmonics": 3 * harmonics,
        }  # fmt: skip
        self.resize(0)

    @property
    def elements(self) -> int:
        """Number of Gaussians, N."""
        return len(self.means)

    @property
    def scales(self) -> Tensor:
        """Standard deviations along the three axes, [N, 3], world units; differentiable."""
        return self.log_scales.exp()

    @property
    def opacities(self) -> Tensor:
        """[N] in [0, 1]; differentiable."""
        return torch.sigmoid(self.opacity_logits)

    def resize(self, elements: int) -> None:
        """Replace every parameter and statistic by zeros for `elements` Gaussians."""
        for name in PARAMETERS:
            shape = (elements, self._widths[name]) if name in self._widths else (elements,)
            setattr(self, name, nn.Parameter(torch.zeros(shape)))
        for name in STATISTICS:
            self.register_buffer(name, torch.zeros(elements))

    def shapes(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Means [N, 3], scales [N, 3], rotations [N, 4] and opacities [N]: the rasteriser's first arguments."""
        return self.means, self.scales, self.rotations, self.opacities

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Take the number of Gaussians from the state."""
        if f"{prefix}means" in state_dict:
            self.resize(len(state_dict[f"{prefix}means"]))
        super()._load_from_state_dict(state_dict, prefix, *rest)


def facing_normals(means: Tensor, log_scales: Tensor, rotations: Tensor, eye: Tensor) -> Tensor:
    """Shortest axes of Gaussians turned towards a camera, [N, 3], unit length, world frame (Chen et al., NeuSG, 2023).

    Differentiable in the rotations; the choices of the shortest axis and of the side facing the camera are not.

    means, log_scales: [N, 3], world units. rotations: [N, 4], wxyz. eye: [3], the camera's centre.
    """
    shortest = log_scales.argmin(dim=1)
    axes = matrices(rotations).gather(2, shortest[:, None, None].expand(-1, 3, 1))[..., 0]
    away = (axes * (means - eye.to(means))).sum(dim=1, keepdim=True) > 0
    return torch.where(away, -axes, axes)
