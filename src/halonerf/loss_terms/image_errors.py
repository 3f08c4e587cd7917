"""Loss terms that compare the rendering with the photo, pixel by pixel."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from halonerf.config.option_types import Fraction, NonNegativeFloat
from halonerf.losses import photometric, squared_error
from halonerf.protocols import LossContext


class Photometric:
    """L1 and structural similarity: see `halonerf.losses.photometric`.

    Args:
        weight: factor in the sum.
        ssim_share: share of 1 - SSIM; the rest is L1.
    """

    needs_normals: ClassVar[bool] = False

    def __init__(self, weight: NonNegativeFloat = 1.0, ssim_share: Fraction = 0.2) -> None:
        self.weight, self.ssim_share = weight, ssim_share

    def __call__(self, context: LossContext) -> Tensor:
        """See `halonerf.protocols.LossTerm`."""
        return photometric(context.rendering.colour, context.photo, context.weight, self.ssim_share)


class SquaredError:
    """Mean squared error of the rendering and, where the field has one, of the coarse network's (NeRF, eq. 6).

    Args:
        weight: factor in the sum.
    """

    needs_normals: ClassVar[bool] = False

    def __init__(self, weight: NonNegativeFloat = 0.5) -> None:
        self.weight = weight

    def __call__(self, context: LossContext) -> Tensor:
        """See `halonerf.protocols.LossTerm`."""
        error = squared_error(context.rendering.colour, context.photo, context.weight)
        if context.rendering.coarse is not None:
            error = error + squared_error(context.rendering.coarse, context.photo, context.weight)
        return error
