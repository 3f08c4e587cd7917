"""A network that predicts the transients of each fitted photo (Ha-NeRF, Chen et al. 2022, section 3.3)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from halonerf.config.option_types import NonNegativeFloat, PositiveFloat, PositiveInt
from halonerf.geometry import image_coordinates
from halonerf.losses import cosine_by_epoch
from halonerf.transients.none import normalised
from halonerf.types import Rendering, View

MIN_LEARNING_RATE = 1e-8  # that the cosine falls to (Ha-NeRF)


class MaskNetwork(nn.Module):
    """M(photo, position) in [0, 1] from an embedding of the photo and a position in it; a pixel has the weight 1 - M.

    The network minimises (1 - M) d^2 / 2 + lambda M^2, d the difference of rendering and photo, held fixed. For a field
    whose loss is d^2 / 2 this is the paper's gradient; with any other loss of the field the mask is the same. A pixel
    is half masked where d^2 = 2 lambda: d = 0.11 at the end of the schedule.

    Args:
        embedding: E, numbers in a photo's embedding.
        frequencies: of sines and cosines of the position, 2^0 to 2^(frequencies - 1) radians per image side.
        width, depth: units and number of the hidden layers.
        samples: positions at which the mask of a larger image is predicted; it is interpolated between them. The
            paper's field is fitted to 1,024 pixels per step, and the mask is predicted at each.
        first_penalty, last_penalty, penalty_decay: lambda = max(last, first * exp(-decay * step)).
        learning_rate: Adam's; falls along half a cosine.
        epochs: equal parts of the fit, in each of which the learning rate is constant.
    """

    version = 2

    photos: Tensor  # [photos, E]

    def __init__(
        self,
        embedding: PositiveInt = 128,
        frequencies: PositiveInt = 10,
        width: PositiveInt = 256,
        depth: PositiveInt = 4,
        samples: PositiveInt = 1024,
        first_penalty: NonNegativeFloat = 5e-2,
        last_penalty: NonNegativeFloat = 6e-3,
        penalty_decay: NonNegativeFloat = 1e-3,
        learning_rate: PositiveFloat = 5e-4,
        epochs: PositiveInt = 20,
    ) -> None:
        super().__init__()
        self.embedding, self.frequencies, self.samples = embedding, frequencies, samples
        self.first_penalty, self.last_penalty, self.penalty_decay = first_penalty, last_penalty, penalty_decay
        self.learning_rate, self.epochs = learning_rate, epochs
        self._adam: Optimizer | None = None
        self.names: list[str] = []
        self.photos = nn.Parameter(torch.zeros(0, embedding))
        sizes = [embedding + 2 + 4 * frequencies, *[width] * depth]
        hidden = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
        self.network = nn.Sequential(*hidden, nn.Linear(width, 1), nn.Sigmoid())

    def initialise(self, matched: Mapping[str, Tensor], seed: int) -> None:
        """Start with random weights and embeddings, from the seed alone."""
        self.names = list(matched)
        generator = torch.Generator().manual_seed(seed)
        self.photos = nn.Parameter(torch.randn(len(self.names), self.embedding, generator=generator))
        with torch.no_grad():
            for layer in self.network:
                bound = 1 / math.sqrt(layer.in_features) if isinstance(layer, nn.Linear) else 0.0
                for parameter in layer.parameters():
                    parameter.copy_((2 * torch.rand(parameter.shape, generator=generator) - 1) * bound)

    def pixel_weights(
        self, name: str, view: View, rendering: Rendering, photo: Tensor, valid: Tensor, step: int, progress: float
    ) -> tuple[Tensor, Tensor]:
        """See `halonerf.protocols.TransientMask`: 1 - M, and the loss of M; nothing is masked in other photos."""
        known = normalised(valid.float())
        if name not in self.names:
            return known, photo.new_zeros(())
        self._set_learning_rate(progress)
        mask = self._mask(name, view)
        squared = ((rendering.colour.detach() - photo) ** 2).mean(dim=-1)
        penalty = max(self.last_penalty, self.first_penalty * math.exp(-self.penalty_decay * step))
        loss = penalty * mask**2 - 0.5 * mask * squared  # without the part that does not depend on M
        return (1 - mask).detach() * known, (loss * known).mean()

    @torch.no_grad()
    def mask(self, name: str, view: View, rendering: Rendering, photo: Tensor, valid: Tensor) -> Tensor:
        """M of valid pixels, [H, W] in [0, 1]; zeros for a photo that is not fitted."""
        return self._mask(name, view) * valid if name in self.names else torch.zeros_like(valid, dtype=torch.float32)

    def optimiser(self) -> Optimizer | None:
        """Adam over all parameters."""
        self._adam = torch.optim.Adam(self.parameters(), lr=self.learning_rate)
        return self._adam

    def _set_learning_rate(self, progress: float) -> None:
        """Set the rate of the step that follows, at `progress` in [0, 1)."""
        epoch = int(progress * self.epochs + 1e-6)  # of a share of whole steps, which is rounded
        for group in self._adam.param_groups if self._adam is not None else ():
            group["lr"] = cosine_by_epoch(self.learning_rate, epoch, self.epochs, MIN_LEARNING_RATE)

    def _mask(self, name: str, view: View) -> Tensor:
        """M at every pixel of the view, [H, W]."""
        shrink = max(1.0, math.sqrt(view.width * view.height / self.samples))
        coarse = view.resized(max(1, round(view.width / shrink)), max(1, round(view.height / shrink)))
        position = image_coordinates(coarse)
        angles = position[..., None] * 2.0 ** torch.arange(self.frequencies, device=position.device)
        waves = torch.cat([position, angles.sin().flatten(-2), angles.cos().flatten(-2)], dim=-1)
        photo = self.photos[self.names.index(name)].expand(*waves.shape[:2], -1)
        mask = self.network(torch.cat([photo, waves], dim=-1))[..., 0]
        size = (view.height, view.width)
        if mask.shape == size:
            return mask
        return F.interpolate(mask[None, None], size, mode="bilinear", align_corners=False)[0, 0]
