"""A network that learns where each photo shows a transient (Ha-NeRF, Chen et al. 2022, section 3.3)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from halonerf.geometry import picture_coordinates
from halonerf.transients.none import evened
from halonerf.types import Rendering, View


class MaskNetwork(nn.Module):
    """M(photo, place) in [0, 1] from an embedding of the photo and the place in it; a pixel counts 1 - M.

    The mask is taught by (1 - M) d^2 / 2 + lambda M^2, d the difference of rendering and photo, held fixed. For a field
    whose error is d^2 / 2 this is the paper's gradient; for any other the mask stays the same while the error's unit
    does not. A pixel is half masked where d^2 = 2 lambda: d = 0.11 at the end of the schedule.

    Args:
        embedding: numbers in a photo's embedding.
        frequencies: of sines and cosines of the place, 2^0 to 2^(frequencies - 1) radians a picture.
        width, depth: of the network; `depth` hidden layers.
        samples: places at which a larger picture is asked; between them the mask is interpolated. The paper's field
            learns from 1,024 pixels at a time, all of which are asked.
        first_penalty, last_penalty, penalty_decay: lambda = max(last, first * exp(-decay * step)).
        learning_rate: Adam's.
    """

    photos: Tensor  # [photos, E]

    def __init__(
        self,
        embedding: int = 128,
        frequencies: int = 10,
        width: int = 256,
        depth: int = 4,
        samples: int = 1024,
        first_penalty: float = 5e-2,
        last_penalty: float = 6e-3,
        penalty_decay: float = 1e-3,
        learning_rate: float = 5e-4,
    ) -> None:
        super().__init__()
        self.embedding, self.frequencies, self.samples = embedding, frequencies, samples
        self.first_penalty, self.last_penalty, self.penalty_decay = first_penalty, last_penalty, penalty_decay
        self.learning_rate = learning_rate
        self.names: list[str] = []
        self.photos = nn.Parameter(torch.zeros(0, embedding))
        sizes = [embedding + 2 + 4 * frequencies, *[width] * depth]
        hidden = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
        self.network = nn.Sequential(*hidden, nn.Linear(width, 1), nn.Sigmoid())

    def initialise(self, matched: Mapping[str, Tensor], seed: int) -> None:
        """Random weights and embeddings, from the seed alone."""
        self.names = list(matched)
        generator = torch.Generator().manual_seed(seed)
        self.photos = nn.Parameter(torch.randn(len(self.names), self.embedding, generator=generator))
        with torch.no_grad():
            for layer in self.network:
                bound = 1 / math.sqrt(layer.in_features) if isinstance(layer, nn.Linear) else 0.0
                for parameter in layer.parameters():
                    parameter.copy_((2 * torch.rand(parameter.shape, generator=generator) - 1) * bound)

    def pixel_weights(
        self, name: str, view: View, shown: Rendering, photo: Tensor, valid: Tensor, step: int, progress: float
    ) -> tuple[Tensor, Tensor]:
        """1 - M, and what teaches M: see `halonerf.protocols.TransientMask`."""
        known = evened(valid.float())
        if name not in self.names:
            return known, photo.new_zeros(())
        mask = self._mask(name, view)
        squared = ((shown.colour.detach() - photo) ** 2).mean(dim=-1)
        penalty = max(self.last_penalty, self.first_penalty * math.exp(-self.penalty_decay * step))
        taught = penalty * mask**2 - 0.5 * mask * squared  # the part of the loss that depends on M
        return (1 - mask).detach() * known, (taught * known).mean()

    @torch.no_grad()
    def mask(self, name: str, view: View, shown: Rendering, photo: Tensor, valid: Tensor) -> Tensor:
        """M, [H, W]; zeros for a photo that was not fitted."""
        return self._mask(name, view) * valid if name in self.names else torch.zeros_like(valid, dtype=torch.float32)

    def optimiser(self) -> Optimizer | None:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)

    def _mask(self, name: str, view: View) -> Tensor:
        """M at every pixel of the view, [H, W]."""
        shrink = max(1.0, math.sqrt(view.width * view.height / self.samples))
        coarse = view.resized(max(1, round(view.width / shrink)), max(1, round(view.height / shrink)))
        place = picture_coordinates(coarse)
        turns = place[..., None] * 2.0 ** torch.arange(self.frequencies, device=place.device)
        waves = torch.cat([place, turns.sin().flatten(-2), turns.cos().flatten(-2)], dim=-1)
        photo = self.photos[self.names.index(name)].expand(*waves.shape[:2], -1)
        mask = self.network(torch.cat([photo, waves], dim=-1))[..., 0]
        size = (view.height, view.width)
        if mask.shape == size:
            return mask
        return F.interpolate(mask[None, None], size, mode="bilinear", align_corners=False)[0, 0]
