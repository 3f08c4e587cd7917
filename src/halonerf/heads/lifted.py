"""What photos say about an element is the weighted mean of the pixels it is seen in: no training, any concepts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from halonerf.errors import BadInput
from halonerf.heads.aggregation import mean_lift, robust_lift
from halonerf.heads.elements import ElementHead, check_supervision
from halonerf.heads.robust import consensus_mean, robust_mean
from halonerf.protocols import PlacedField, RadianceField
from halonerf.types import View

ROBUST = ("none", "trimmed", "median", "agreeing")


class Lifted(ElementHead):
    """v = (A^T w p) / (A^T w), where row by row A holds the elements' shares of a pixel's light.

    A is the field's rasteriser with frozen geometry, so p = A v; the mean is the first step of solving that by
    simultaneous iterative reconstruction (SIRT), and `refinements` more steps give back what averaging blurs. Where
    some photos are wrong, what each says alone, v_i = (A_i^T w_i p_i) / (A_i^T w_i) with support A_i^T w_i, is put
    together as `halonerf.heads.robust` has it instead of being added up.

    Args:
        min_confidence: fully opaque pixels that must have said something about an element; below, it is unknown.
        refinements: further steps of v += what photos say of p - A v, held in [0, 1]; each costs one more lift.
        robust: how photos are put together: "none" (the mean), element by element "trimmed" or "median", or concept by
            concept "agreeing" (the mean of the photos that agree with the others).
        trim: of trimmed: share of the support of an element that is left out at either end, in (0, 0.5).
        tolerance: of agreeing: distance from the answer at which a photo counts half, in the photos' median distance.
        smoothing: how much a pixel of a near element of the same colour counts beside an element's own; 0: nothing.
        neighbours: of smoothing: elements near enough.
        memory_mb: of robust: MB that photos' votes may take together; beyond, concepts are lifted in groups.
    """

    runtime_options = ("memory_mb",)

    def __init__(
        self,
        min_confidence: float = 0.05,
        refinements: int = 0,
        robust: str = "none",
        trim: float = 0.3,
        tolerance: float = 1.5,
        smoothing: float = 0.0,
        neighbours: int = 8,
        memory_mb: float = 2000.0,
    ) -> None:
        super().__init__(min_confidence)
        if refinements < 0:
            raise BadInput(f"expected head.refinements >= 0, got {refinements}")
        if robust not in ROBUST:
            raise BadInput(f"expected head.robust among {', '.join(ROBUST)}, got '{robust}'")
        if not 0 < trim < 0.5:
            raise BadInput(f"expected head.trim between 0 and 0.5, got {trim}.\nFor half of all: head.robust=median")
        if tolerance <= 0:
            raise BadInput(f"expected head.tolerance > 0, got {tolerance}")
        if smoothing < 0 or neighbours < 1:
            raise BadInput(f"expected head.smoothing >= 0 and head.neighbours >= 1, got {smoothing} and {neighbours}")
        self.refinements, self.robust, self.smoothing, self.neighbours = refinements, robust, smoothing, neighbours
        self.trim, self.tolerance, self.memory_mb = trim if robust == "trimmed" else 0.5, tolerance, memory_mb

    @torch.no_grad()
    def fit(
        self, field: RadianceField, views: Sequence[View], maps: Sequence[Tensor], weights: Sequence[Tensor]
    ) -> None:
        """See `halonerf.protocols.SemanticHead`. The field is only read.

        Raises: BadInput where there is no view, or views, maps and weights are not as many; where elements are to be
            smoothed that have no place.
        """
        check_supervision(views, maps, weights)
        if self.smoothing and not isinstance(field, PlacedField):
            raise BadInput(
                f"expected a field that can say where its elements are (element_centres), got {type(field).__name__}.\n"
                "Leave them as they are: head.smoothing=0"
            )
        value, support = self._vote(field, views, lambda i: maps[i], weights)
        value = value.clamp(0, 1)
        for _ in range(self.refinements):
            change, _ = self._vote(field, views, _missed(field, views, maps, value), weights)
            value = (value + change).clamp(0, 1)
        if self.smoothing:
            assert isinstance(field, PlacedField)
            colours = _colours(field, views)
            centres = field.element_centres().cpu()
            value = smoothed(value, support, centres, colours, self.smoothing, self.neighbours)
        self.hold(value, support)

    def _vote(
        self, field: RadianceField, views: Sequence[View], say: Callable[[int], Tensor], weights: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        if self.robust == "none":
            return mean_lift(field, views, say, weights)
        return robust_lift(field, views, say, weights, self._agree, self.memory_mb)

    def _agree(self, votes: Tensor, weights: Tensor) -> Tensor:
        if self.robust == "agreeing":
            return consensus_mean(votes, weights, self.tolerance)
        return robust_mean(votes, weights, self.trim)


def _missed(
    field: RadianceField, views: Sequence[View], maps: Sequence[Tensor], value: Tensor
) -> Callable[[int], Tensor]:
    """p - A v of the i-th photo, [H, W, P]."""

    def difference(i: int) -> Tensor:
        shown = field.render(views[i], field.mean_appearance(), value).channels
        assert shown is not None
        return maps[i] - shown.to(maps[i])

    return difference


def _colours(field: RadianceField, views: Sequence[View]) -> Tensor:
    """The mean colour in which each element is seen in neutral light, [E, 3]; of any field, by lifting its pictures."""
    light = field.mean_appearance()
    ones = [torch.ones(view.height, view.width, 3) for view in views]
    return mean_lift(field, views, lambda i: field.render(views[i], light).colour.cpu(), ones)[0]


ROUNDS = 3  # evidence travels over so many neighbours
UNLIKE = 0.15  # difference of two colours, each in [0, 1]^3, that lowers what they share to exp(-1/2)


def smoothed(
    value: Tensor, support: Tensor, centres: Tensor, colours: Tensor, strength: float, neighbours: int
) -> Tensor:
    """v_i <- (s_i v0_i + strength sum_j k_ij s_j v_j) / (s_i + strength sum_j k_ij s_j), a few times over: [E, P].

        k_ij = exp(-|x_i - x_j|^2 / 2 h_i^2) exp(-|c_i - c_j|^2 / 2 UNLIKE^2),

    j the nearest neighbours of i, h_i their mean distance: a bilateral filter on elements (Tomasi & Manduchi, 1998)
    that weighs by the pixels that spoke. Elements with no support, or no place, neither give nor take.

    Args:
        value, support: [E, P], probabilities v0 and pixels s that spoke. centres: [E, 3], world units, NaN for an
            element that is in no one place. colours: [E, 3].
        strength: how much a neighbour's pixel counts beside an element's own. neighbours: how many.
    """
    takes = (centres.isfinite().all(dim=1) & (support > 0).any(dim=1)).nonzero()[:, 0]
    if len(takes) < 2:
        return value
    places = centres[takes].double().numpy()
    found = cKDTree(places).query(places, k=min(neighbours + 1, len(takes)))
    distance, near = (torch.from_numpy(table[:, 1:].copy()) for table in found)
    width = distance.mean(dim=1, keepdim=True).clamp(min=1e-9)
    colour = colours[takes]
    apart = ((colour[near] - colour[:, None]) ** 2).sum(dim=2)
    kernel = strength * (torch.exp(-0.5 * (distance / width) ** 2) * torch.exp(-0.5 * apart / UNLIKE**2)).float()
    own, start = support[takes], value[takes]
    now = start
    for _ in range(ROUNDS):
        said, pixels = own * start, own.clone()
        for k in range(near.shape[1]):  # one neighbour at a time: [E, k, P] would not fit for many concepts
            share = kernel[:, k, None] * own[near[:, k]]
            said, pixels = said + share * now[near[:, k]], pixels + share
        now = torch.where(own > 0, said / pixels.clamp(min=1e-12), start)
    result = value.clone()
    result[takes] = now
    return result
