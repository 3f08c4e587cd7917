"""What stays unlike the photo when all photos have been fitted is taken for a transient."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor, nn
from torch.optim import Optimizer

from halonerf.geometry import sample_picture
from halonerf.losses import transient_mask
from halonerf.transients.none import evened
from halonerf.types import Rendering, View

CELLS = 128  # along either side of a photo's map of matched points


class ResidualMask(nn.Module):
    """Leaves out the patches of a photo that the rendering explains worst (see `halonerf.losses.transient_mask`).

    What is only hard to fit is spared by two signs. Before the sky nothing can be hidden, so a pixel's error counts by
    the opacity there. And where structure from motion matched the photo with others, it shows the place: an error
    counts less the nearer it is to such a point. On a procedural cathedral both together raised the share of masked
    pixels that do show passers-by from 0.24 to 0.40, and that of theirs that is found from 0.37 to 0.49; on a place
    without passers-by the masked share fell from 0.3 to 0.1 % (experiments/wild.md).

    Args:
        start: share of the fit from which patches are left out; before, everything is unlike.
        quantile: at most 1 minus this share of a photo is left out.
        floor: mean absolute error in [0, 1] that a transient has at least.
        reach: of the photo's sides; an error counts in full from so far from any matched point on, and nearer by the
            square of its distance.
    """

    def __init__(self, start: float = 0.3, quantile: float = 0.88, floor: float = 0.1, reach: float = 0.08) -> None:
        super().__init__()
        self.start, self.quantile, self.floor, self.reach = start, quantile, floor, reach
        self._distance: dict[str, Tensor] = {}  # [CELLS, CELLS, 1] a photo, in [0, 1]: of its sides, to a matched point

    def initialise(self, matched: Mapping[str, Tensor], seed: int) -> None:
        """Measure the distance to matched points all over each photo."""
        self._distance = {name: _distance_to(points) for name, points in matched.items()}

    def pixel_weights(
        self, name: str, view: View, shown: Rendering, photo: Tensor, valid: Tensor, step: int, progress: float
    ) -> tuple[Tensor, Tensor]:
        """One, and zero where masked, evened: see `halonerf.protocols.TransientMask`."""
        kept = valid.float()
        if progress >= self.start:
            kept = kept * (1 - self.mask(name, view, shown, photo, valid))
        return evened(kept), photo.new_zeros(())

    @torch.no_grad()
    def mask(self, name: str, view: View, shown: Rendering, photo: Tensor, valid: Tensor) -> Tensor:
        """One where masked, [H, W]."""
        suspicion = (shown.colour - photo).abs().mean(dim=-1) * shown.opacity
        if self.reach > 0 and name in self._distance:
            distance = sample_picture(self._distance[name].to(photo), view, antialiased=False)[..., 0]
            suspicion = suspicion * (distance / self.reach).clamp(max=1) ** 2
        return transient_mask(suspicion, valid, self.quantile, self.floor).float()

    def optimiser(self) -> Optimizer | None:
        """None: nothing is learnt."""
        return None


def _distance_to(points: Tensor) -> Tensor:
    """Distance to the nearest of the points [M, 2] from everywhere in the unit square, [CELLS, CELLS, 1]; 1 if none."""
    free = np.ones((CELLS, CELLS), bool)
    column, row = (points.cpu().numpy() * CELLS).astype(int).clip(0, CELLS - 1).T
    free[row, column] = False
    distance = distance_transform_edt(free) / CELLS if len(points) else np.ones(free.shape)
    return torch.from_numpy(distance.astype(np.float32))[..., None]
