"""What photos say about an element is the weighted mean of the pixels it is seen in: no training, any concepts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from halonerf.errors import BadInput
from halonerf.protocols import RadianceField
from halonerf.types import View


class Lifted(nn.Module):
    """v = (A^T w p) / (A^T w), where row by row A holds the elements' shares of a pixel's light.

    A is the field's rasteriser with frozen geometry, so p = A v; the mean is the first step of solving that by
    simultaneous iterative reconstruction (SIRT), and `refinements` more steps give back what averaging blurs.

    Args:
        min_confidence: fully opaque pixels that must have said something about an element; below, it is unknown.
        refinements: further steps v += (A^T w (p - A v)) / (A^T w), held in [0, 1]; each costs one more lift.
    """

    probability: Tensor
    support: Tensor

    def __init__(self, min_confidence: float = 0.05, refinements: int = 0) -> None:
        super().__init__()
        if min_confidence < 0 or refinements < 0:
            raise BadInput(
                f"expected head.min_confidence >= 0 and head.refinements >= 0, got {min_confidence} and {refinements}"
            )
        self.min_confidence, self.refinements = min_confidence, refinements
        self._hold(torch.zeros(0, 0), torch.zeros(0, 0))

    @torch.no_grad()
    def fit(
        self, field: RadianceField, views: Sequence[View], maps: Sequence[Tensor], weights: Sequence[Tensor]
    ) -> None:
        """See `halonerf.protocols.SemanticHead`. The field is only read.

        Raises: BadInput where there is no view, or views, maps and weights are not as many.
        """
        if not views or not len(views) == len(maps) == len(weights):
            raise BadInput(
                f"expected one map and one weight for each of at least one view, got {len(views)} views, "
                f"{len(maps)} maps and {len(weights)} weights"
            )
        count = maps[0].shape[-1]
        said, support = torch.zeros(field.elements, count), torch.zeros(field.elements, count)
        for view, given, weight in zip(views, maps, weights, strict=True):
            sums, _ = field.lift(view, torch.cat([weight * given, weight], dim=-1), torch.ones_like(weight[..., 0]))
            said += sums[:, :count].cpu()
            support += sums[:, count:].cpu()
        value = _ratio(said, support).clamp(0, 1)
        for _ in range(self.refinements):
            change = torch.zeros_like(said)
            for view, given, weight in zip(views, maps, weights, strict=True):
                shown = field.render(view, field.mean_appearance(), value).channels
                assert shown is not None
                sums, _ = field.lift(view, weight * (given - shown), torch.ones_like(weight[..., 0]))
                change += sums.cpu()
            value = (value + _ratio(change, support)).clamp(0, 1)
        self._hold(value, support)

    def channels(self) -> Tensor:
        """See `halonerf.protocols.SemanticHead`."""
        return self.probability * self._known()

    def confidence(self) -> Tensor:
        """See `halonerf.protocols.SemanticHead`."""
        return self.support * self._known()

    @torch.no_grad()
    def render(self, field: RadianceField, view: View, appearance: Tensor) -> tuple[Tensor, Tensor]:
        """Probability and confidence, [H, W, P] each.

        Unknown elements are taken out of a pixel; what passes all elements shows the background, which is no
        concept:  probability = sum_known w v / (1 - sum_unknown w),  confidence = sum_known w.
        """
        known = self._known().to(self.probability)
        shown = field.render(view, appearance, torch.cat([self.channels(), known], dim=1))
        assert shown.channels is not None
        said, confidence = shown.channels.chunk(2, dim=-1)
        rest = (1 - shown.opacity[..., None]).clamp(min=0) + confidence
        return torch.where(confidence > 1e-4, said / rest.clamp(min=1e-4), 0.0).clamp(0, 1), confidence

    def save(self, path: Path) -> None:
        """Write the fitted probabilities and their support."""
        save_file({"probability": self.probability, "support": self.support}, path)

    def load(self, path: Path) -> None:
        """Read what `save` wrote."""
        tensors = load_file(path)
        self._hold(tensors["probability"], tensors["support"])

    def _known(self) -> Tensor:
        return (self.support > 0) & (self.support >= self.min_confidence)

    def _hold(self, probability: Tensor, support: Tensor) -> None:
        self.register_buffer("probability", probability.contiguous())
        self.register_buffer("support", support.contiguous())


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole > 0, part / whole.clamp(min=1e-12), 0.0)
