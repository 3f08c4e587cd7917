"""What a head is once it is fitted: a probability an element and concept, and how much the photos said of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from halonerf.errors import BadInput
from halonerf.protocols import RadianceField
from halonerf.types import View


class ElementHead(nn.Module):
    """The part of `halonerf.protocols.SemanticHead` that does not depend on how the probabilities were found.

    Args:
        min_confidence: fully opaque pixels that must have said something about an element; below, it is unknown.
    """

    probability: Tensor  # [E, P]
    support: Tensor  # [E, P], fully opaque pixels

    def __init__(self, min_confidence: float) -> None:
        super().__init__()
        if min_confidence < 0:
            raise BadInput(f"expected head.min_confidence >= 0, got {min_confidence}")
        self.min_confidence = min_confidence
        self.hold(torch.zeros(0, 0), torch.zeros(0, 0))

    def probabilities(self) -> Tensor:
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
        shown = field.render(view, appearance, torch.cat([self.probabilities(), known], dim=1))
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
        self.hold(tensors["probability"], tensors["support"])

    def hold(self, probability: Tensor, support: Tensor) -> None:
        """Take these, [E, P] each, as what was fitted."""
        self.register_buffer("probability", probability.contiguous())
        self.register_buffer("support", support.contiguous())

    def _known(self) -> Tensor:
        return (self.support > 0) & (self.support >= self.min_confidence)


def check_supervision(views: Sequence[View], maps: Sequence[Tensor], weights: Sequence[Tensor]) -> None:
    """Raises: BadInput where there is no view, or views, maps and weights are not as many."""
    if not views or not len(views) == len(maps) == len(weights):
        raise BadInput(
            f"expected one map and one weight for each of at least one view, got {len(views)} views, "
            f"{len(maps)} maps and {len(weights)} weights"
        )
