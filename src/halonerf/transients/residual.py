"""What stays unlike the photo when all photos have been fitted is taken for a transient."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.optim import Optimizer

from halonerf.losses import transient_mask
from halonerf.transients.none import evened
from halonerf.types import View


class ResidualMask(nn.Module):
    """Leaves out the patches of a photo that the rendering explains worst (see `halonerf.losses.transient_mask`).

    Args:
        start: share of the fit from which patches are left out; before, everything is unlike.
        quantile: at most 1 minus this share of a photo is left out.
        floor: mean absolute error in [0, 1] that a transient has at least.
    """

    def __init__(self, start: float = 0.2, quantile: float = 0.88, floor: float = 0.12) -> None:
        super().__init__()
        self.start, self.quantile, self.floor = start, quantile, floor

    def initialise(self, names: Sequence[str], seed: int) -> None:
        """Nothing to start from."""

    def weigh(
        self, name: str, view: View, difference: Tensor, valid: Tensor, step: int, progress: float
    ) -> tuple[Tensor, Tensor]:
        """One, and zero where masked, evened: see `halonerf.protocols.TransientMask`."""
        kept = valid.float()
        if progress >= self.start:
            kept = kept * (1 - self.mask(name, view, difference, valid))
        return evened(kept), difference.new_zeros(())

    def mask(self, name: str, view: View, difference: Tensor, valid: Tensor) -> Tensor:
        """One where masked, [H, W]."""
        return transient_mask(difference.abs().mean(dim=-1), valid, self.quantile, self.floor).float()

    def optimiser(self) -> Optimizer | None:
        """None: nothing is learnt."""
        return None
