"""The loss term that compares rendered depth with the points of structure from motion."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from halonerf.config.option_types import NonNegativeFloat
from halonerf.losses import depth_at_points
from halonerf.protocols import LossContext


class PointDepth:
    """Relative error of rendered depth at the scene points that the photo sees: see `halonerf.losses.depth_at_points`.

    It constrains the geometry of regions that few photos show.

    Args:
        weight: factor in the sum.
    """

    needs_normals: ClassVar[bool] = False

    def __init__(self, weight: NonNegativeFloat = 0.1) -> None:
        self.weight = weight

    def __call__(self, context: LossContext) -> Tensor:
        """See `halonerf.protocols.LossTerm`."""
        depth, opacity = context.rendering.depth, context.rendering.opacity
        return depth_at_points(depth * opacity, opacity, context.point_pixels, context.point_depths)
