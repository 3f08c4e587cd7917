"""Loss terms that depend on the field's parameters and not on the photo."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from halonerf.config.option_types import NonNegativeFloat
from halonerf.errors import BadInput
from halonerf.protocols import GaussianField, LossContext, RadianceField, RegularisedField


class MeanOpacity:
    """Mean opacity of all Gaussians, in [0, 1]: fades those that no photo needs.

    Args:
        weight: factor in the sum.
    """

    needs_normals: ClassVar[bool] = False

    def __init__(self, weight: NonNegativeFloat = 1e-3) -> None:
        self.weight = weight

    def __call__(self, context: LossContext) -> Tensor:
        """See `halonerf.protocols.LossTerm`. Raises: BadInput for a field that is not made of Gaussians."""
        return _gaussians(context.field, "MeanOpacity").opacities.mean()


class MeanScale:
    """Mean standard deviation of all Gaussians and axes, world units: shrinks those that need not be large.

    Args:
        weight: factor in the sum.
    """

    needs_normals: ClassVar[bool] = False

    def __init__(self, weight: NonNegativeFloat = 3e-2) -> None:
        self.weight = weight

    def __call__(self, context: LossContext) -> Tensor:
        """See `halonerf.protocols.LossTerm`. Raises: BadInput for a field that is not made of Gaussians."""
        return _gaussians(context.field, "MeanScale").scales.mean()


class FieldRegularisation:
    """The field's own regularisers: see `halonerf.protocols.RegularisedField`.

    Args:
        weight: factor in the sum, beside those of the field's options.
    """

    needs_normals: ClassVar[bool] = False

    def __init__(self, weight: NonNegativeFloat = 1.0) -> None:
        self.weight = weight

    def __call__(self, context: LossContext) -> Tensor:
        """See `halonerf.protocols.LossTerm`. Raises: BadInput for a field without regularisers."""
        if not isinstance(context.field, RegularisedField):
            raise _unfit(context.field, "FieldRegularisation", "a field with regularisers of its own")
        return context.field.regularisation()


def _gaussians(field: RadianceField, term: str) -> GaussianField:
    if not isinstance(field, GaussianField):
        raise _unfit(field, term, "a field of Gaussians")
    return field


def _unfit(field: RadianceField, term: str, expected: str) -> BadInput:
    return BadInput(
        f"expected {expected} for the loss term {term}, got {type(field).__name__}.\n"
        "Leave loss= out, which takes the loss of the field's name, or leave the term out: loss.terms.NAME.weight=0"
    )
