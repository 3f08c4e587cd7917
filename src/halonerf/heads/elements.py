"""The state of a fitted head: a probability and its support per element and concept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from halonerf.errors import BadInput
from halonerf.lifting import render_known
from halonerf.protocols import RadianceField
from halonerf.types import View


class ElementHead(nn.Module):
    """The part of `halonerf.protocols.SemanticHead` that does not depend on how the probabilities are fitted.

    Args:
        min_confidence: support of an element, in fully opaque pixels, below which it is unknown.
    """

    probability: Tensor  # [E, P]
    support: Tensor  # [E, P], fully opaque pixels

    def __init__(self, min_confidence: float) -> None:
        super().__init__()
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
        """Probability and confidence, [H, W, P] each in [0, 1]: see `halonerf.lifting.render_known`."""
        return render_known(field, view, appearance, self.probabilities(), self.confidence())

    def save(self, path: Path) -> None:
        """Write the fitted probabilities and their support as safetensors."""
        save_file({"probability": self.probability, "support": self.support}, path)

    def load(self, path: Path) -> None:
        """Read what `save` wrote."""
        tensors = load_file(path)
        self.hold(tensors["probability"], tensors["support"])

    def hold(self, probability: Tensor, support: Tensor) -> None:
        """Store the fitted probabilities and their support, [E, P] each."""
        self.register_buffer("probability", probability.contiguous())
        self.register_buffer("support", support.contiguous())

    def _known(self) -> Tensor:
        return (self.support > 0) & (self.support >= self.min_confidence)


def check_supervision(views: Sequence[View], maps: Sequence[Tensor], weights: Sequence[Tensor]) -> None:
    """Check that there are views, and as many maps and weights; raises BadInput otherwise."""
    if not views or not len(views) == len(maps) == len(weights):
        raise BadInput(
            f"expected one map and one weight for each of at least one view, got {len(views)} views, "
            f"{len(maps)} maps and {len(weights)} weights"
        )
