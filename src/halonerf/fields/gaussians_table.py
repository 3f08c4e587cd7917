"""The numbers of every Gaussian, one row each, and how many there are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

ROWS = ("means", "log_scales", "rotations", "opacity_logits", "colour_logits", "features", "harmonics")
STATISTICS = ("pull", "seen")


class GaussianTable(nn.Module):
    """Parameters by name in `ROWS`, and the fit's running statistics.

    Args:
        feature_size: F, numbers in a Gaussian's feature.
        harmonics: K, spherical harmonics above the constant one.
    """

    means: Tensor  # [N, 3], world units
    log_scales: Tensor  # [N, 3], of the three standard deviations in world units
    rotations: Tensor  # [N, 4], wxyz
    opacity_logits: Tensor  # [N]
    colour_logits: Tensor  # [N, 3]
    features: Tensor  # [N, F]
    harmonics: Tensor  # [N, 3 K]
    pull: Tensor  # [N], sum since the last growth of how hard each step pulled at the centre
    seen: Tensor  # [N], the steps that did

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

    def resize(self, elements: int) -> None:
        """Give every tensor its size; values are zero."""
        for name in ROWS:
            shape = (elements, self._widths[name]) if name in self._widths else (elements,)
            setattr(self, name, nn.Parameter(torch.zeros(shape)))
        for name in STATISTICS:
            self.register_buffer(name, torch.zeros(elements))

    def shapes(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Means [N, 3], scales [N, 3], rotations [N, 4] and opacities [N], as the rasteriser takes them."""
        return self.means, self.log_scales.exp(), self.rotations, torch.sigmoid(self.opacity_logits)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """The number of Gaussians is whatever the file says."""
        if f"{prefix}means" in state_dict:
            self.resize(len(state_dict[f"{prefix}means"]))
        super()._load_from_state_dict(state_dict, prefix, *rest)
