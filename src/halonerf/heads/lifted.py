"""A head without training: the weighted mean of the 2D probabilities of the pixels that show an element."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import torch
from annotated_types import Interval
from scipy.spatial import cKDTree
from torch import Tensor

from halonerf.config.option_types import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from halonerf.errors import BadInput
from halonerf.heads.aggregation import mean_lift, robust_lift
from halonerf.heads.elements import ElementHead, check_supervision
from halonerf.heads.robust import consensus_mean, robust_mean
from halonerf.protocols import PlacedField, RadianceField
from halonerf.types import View


class Lifted(ElementHead):
    """v = (A^T w p) / (A^T w), where A holds the weight of every element in every pixel.

    A is the field's rasteriser with frozen geometry, so p = A v. The mean is the first step of solving that by
    simultaneous iterative reconstruction (SIRT), and `refinements` further steps recover what averaging blurs. Where
    some photos are wrong, the means of single photos, v_i = (A_i^T w_i p_i) / (A_i^T w_i) of support A_i^T w_i, are
    combined by `halonerf.heads.robust` instead of being summed.

    Args:
        min_confidence: support of an element, in fully opaque pixels, below which it is unknown.
        refinements: further steps of v += (A^T w (p - A v)) / (A^T w), clipped to [0, 1]; each costs one more lift.
        robust: how photos are combined: "none" (the mean), per element "trimmed" (mean) or "median", or per concept
            "consensus" (the mean of the photos that agree with the others).
        trim: of "trimmed": share of an element's support that is left out at either end, in (0, 0.5).
        tolerance: of "consensus": distance from the result at which a photo has half its weight, in units of the
            photos' median distance.
        smoothing: weight of a pixel of a near element of the same colour beside an element's own; 0: no smoothing.
        neighbours: of smoothing: number of near elements.
        memory_mb: of a robust mean: MB that the photos' lifts may take; above it, concepts are lifted in groups.
    """

    runtime_options = ("memory_mb",)

    def __init__(
        self,
        min_confidence: NonNegativeFloat = 0.05,
        refinements: NonNegativeInt = 0,
        robust: Literal["none", "trimmed", "median", "consensus"] = "none",
        trim: Annotated[float, Interval(gt=0, lt=0.5)] = 0.3,
        tolerance: PositiveFloat = 1.5,
        smoothing: NonNegativeFloat = 0.0,
        neighbours: PositiveInt = 8,
        memory_mb: PositiveFloat = 2000.0,
    ) -> None:
        super().__init__(min_confidence)
        self.refinements, self.robust, self.smoothing, self.neighbours = refinements, robust, smoothing, neighbours
        self.trim, self.tolerance, self.memory_mb = trim if robust == "trimmed" else 0.5, tolerance, memory_mb

    @torch.no_grad()
    def fit(
        self, field: RadianceField, views: Sequence[View], maps: Sequence[Tensor], weights: Sequence[Tensor]
    ) -> None:
        """See `halonerf.protocols.SemanticHead`. The field is not changed.

        Raises: BadInput where there is no view, or views, maps and weights are not as many; where `smoothing`
            needs positions that the field's elements do not have.
        """
        check_supervision(views, maps, weights)
        if self.smoothing and not isinstance(field, PlacedField):
            raise BadInput(
                "expected a field whose elements have positions (halonerf.protocols.PlacedField), got "
                f"{type(field).__name__}.\nDo not smooth: head.smoothing=0"
            )
        value, support = self._lift(field, views, lambda i: maps[i], weights)
        value = value.clamp(0, 1)
        for _ in range(self.refinements):
            change, _ = self._lift(field, views, _residuals(field, views, maps, value), weights)
            value = (value + change).clamp(0, 1)
        if self.smoothing:
            assert isinstance(field, PlacedField)
            colours = _colours(field, views)
            centres = field.element_centres().cpu()
            value = smoothed(value, support, centres, colours, self.smoothing, self.neighbours)
        self.hold(value, support)

    def _lift(
        self, field: RadianceField, views: Sequence[View], predict: Callable[[int], Tensor], weights: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Combined value and support of all photos, [E, P] each."""
        if self.robust == "none":
            return mean_lift(field, views, predict, weights)
        return robust_lift(field, views, predict, weights, self._aggregate, self.memory_mb)

    def _aggregate(self, values: Tensor, support: Tensor) -> Tensor:
        """One value [E, C] from those of V photos, [V, E, C], and their support [V, E, C]."""
        if self.robust == "consensus":
            return consensus_mean(values, support, self.tolerance)
        return robust_mean(values, support, self.trim)


def _residuals(
    field: RadianceField, views: Sequence[View], maps: Sequence[Tensor], value: Tensor
) -> Callable[[int], Tensor]:
    """A function of i: p - A v of the i-th photo, [H, W, P]."""

    def residual(i: int) -> Tensor:
        rendered = field.render(views[i], field.mean_appearance(), value).channels
        assert rendered is not None
        return maps[i] - rendered.to(maps[i])

    return residual


def _colours(field: RadianceField, views: Sequence[View]) -> Tensor:
    """Mean colour of each element under the mean appearance, [E, 3]: renderings of the views, lifted."""
    appearance = field.mean_appearance()
    ones = [torch.ones(view.height, view.width, 3) for view in views]
    return mean_lift(field, views, lambda i: field.render(views[i], appearance).colour.cpu(), ones)[0]


SMOOTHING_ITERATIONS = 3
COLOUR_SIGMA = 0.15  # of the kernel on the distance of two colours in [0, 1]^3


def smoothed(
    value: Tensor, support: Tensor, centres: Tensor, colours: Tensor, strength: float, neighbours: int
) -> Tensor:
    """Probabilities after a bilateral filter on elements (Tomasi & Manduchi, 1998) weighted by support, [E, P]:

        v_i <- (s_i v0_i + strength sum_j k_ij s_j v_j) / (s_i + strength sum_j k_ij s_j),  a few times,
        k_ij = exp(-|x_i - x_j|^2 / 2 h_i^2) exp(-|c_i - c_j|^2 / 2 COLOUR_SIGMA^2),

    j the nearest neighbours of i, h_i their mean distance. Elements without support or position are left as they are.

    Args:
        value, support: [E, P], probabilities v0 and their support s in pixels. centres: [E, 3], world units, NaN for
            an element without one position. colours: [E, 3] in [0, 1].
        strength: weight of a neighbour's pixel beside an element's own. neighbours: number of neighbours.
    """
    smoothable = (centres.isfinite().all(dim=1) & (support > 0).any(dim=1)).nonzero()[:, 0]
    if len(smoothable) < 2:
        return value
    positions = centres[smoothable].double().numpy()
    nearest = cKDTree(positions).query(positions, k=min(neighbours + 1, len(smoothable)))
    distance, near = (torch.from_numpy(table[:, 1:].copy()) for table in nearest)
    width = distance.mean(dim=1, keepdim=True).clamp(min=1e-9)
    colour = colours[smoothable]
    contrast = ((colour[near] - colour[:, None]) ** 2).sum(dim=2)
    kernel = (
        strength * (torch.exp(-0.5 * (distance / width) ** 2) * torch.exp(-0.5 * contrast / COLOUR_SIGMA**2)).float()
    )
    own, start = support[smoothable], value[smoothable]
    current = start
    for _ in range(SMOOTHING_ITERATIONS):
        sums, pixels = own * start, own.clone()
        for k in range(near.shape[1]):  # one neighbour at a time: [E, k, P] would not fit for many concepts
            share = kernel[:, k, None] * own[near[:, k]]
            sums, pixels = sums + share * current[near[:, k]], pixels + share
        current = torch.where(own > 0, sums / pixels.clamp(min=1e-12), start)
    result = value.clone()
    result[smoothable] = current
    return result
