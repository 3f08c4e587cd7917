"""Transients as the pixels of largest residual once the static scene is fitted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor, nn
from torch.optim import Optimizer

from halonerf.config.option_types import Fraction, NonNegativeFloat
from halonerf.geometry import sample_image
from halonerf.losses import transient_mask
from halonerf.transients.none import normalised
from halonerf.types import Rendering, View

MAP_SIDE = 128  # cells along either side of a photo's map of distances


class ResidualMask(nn.Module):
    """Masks the regions of a photo with the largest residuals (see `halonerf.losses.transient_mask`).

    Static regions that are merely hard to fit are protected in two ways. Nothing is hidden in front of the sky, so a
    pixel's residual is multiplied by the opacity. And structure from motion matches static points: a residual is
    reduced the nearer it is to such a point. On a procedural cathedral both together raised the precision of the mask
    from 0.24 to 0.40 and its recall from 0.37 to 0.49; in a scene without transients the masked share fell from 0.3 to
    0.1 % (experiments/wild.md).

    Args:
        start: share of the fit from which pixels are masked; before it, all residuals are large.
        quantile: at most 1 minus this share of a photo is masked.
        floor: mean absolute error in [0, 1] that a transient has at least.
        reach: in sides of the photo; a residual at this distance from all matched points, or farther, counts in full,
            a nearer one by the square of its distance.
    """

    def __init__(
        self,
        start: Fraction = 0.3,
        quantile: Fraction = 0.88,
        floor: NonNegativeFloat = 0.1,
        reach: NonNegativeFloat = 0.08,
    ) -> None:
        super().__init__()
        self.start, self.quantile, self.floor, self.reach = start, quantile, floor, reach
        self._distance: dict[str, Tensor] = {}  # [MAP_SIDE, MAP_SIDE, 1] per photo, in sides of the photo

    def initialise(self, matched: Mapping[str, Tensor], seed: int) -> None:
        """Compute the map of distances to matched points of each photo."""
        self._distance = {name: _distance_to(points) for name, points in matched.items()}

    def pixel_weights(
        self, name: str, view: View, rendering: Rendering, photo: Tensor, valid: Tensor, step: int, progress: float
    ) -> tuple[Tensor, Tensor]:
        """See `halonerf.protocols.TransientMask`: zero where masked, equal elsewhere, and a loss of 0."""
        kept = valid.float()
        if progress >= self.start:
            kept = kept * (1 - self.mask(name, view, rendering, photo, valid))
        return normalised(kept), photo.new_zeros(())

    @torch.no_grad()
    def mask(self, name: str, view: View, rendering: Rendering, photo: Tensor, valid: Tensor) -> Tensor:
        """1 where masked, else 0, [H, W]."""
        residual = (rendering.colour - photo).abs().mean(dim=-1) * rendering.opacity
        if self.reach > 0 and name in self._distance:
            distance = sample_image(self._distance[name].to(photo), view, antialiased=False)[..., 0]
            residual = residual * (distance / self.reach).clamp(max=1) ** 2
        return transient_mask(residual, valid, self.quantile, self.floor).float()

    def optimiser(self) -> Optimizer | None:
        """None: there are no parameters."""
        return None


def _distance_to(points: Tensor) -> Tensor:
    """Distance of each cell of the unit square to the nearest point, [MAP_SIDE, MAP_SIDE, 1]; 1 without points.

    points: [M, 2] in [0, 1].
    """
    free = np.ones((MAP_SIDE, MAP_SIDE), bool)
    column, row = (points.cpu().numpy() * MAP_SIDE).astype(int).clip(0, MAP_SIDE - 1).T
    free[row, column] = False
    distance = distance_transform_edt(free) / MAP_SIDE if len(points) else np.ones(free.shape)
    return torch.from_numpy(distance.astype(np.float32))[..., None]
