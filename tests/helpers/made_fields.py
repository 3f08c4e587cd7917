"""A field small enough to reason about: a picture painted on a far sphere, in one light a photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from halonerf.errors import BadInput
from halonerf.geometry import pixel_centres, ray_directions
from halonerf.types import Rendering, View


class Panorama(nn.Module):
    """Colour is a smooth function of the direction (and, a little, of the place), times the photo's light.

    Args:
        steady: the picture does not follow the camera's gradient.
    """

    antialiased, encodes = False, False

    def __init__(self, steady: bool = False) -> None:
        super().__init__()
        self.steady = steady
        self.paint = nn.Linear(12, 3)
        self.codes = nn.Parameter(torch.zeros(0, 3))
        self.names: list[str] = []
        self.elements = 1

    def initialise(self, points: Tensor, colours: Tensor, names: Sequence[str], seed: int) -> None:
        self.names = list(names)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            self.paint.weight.copy_(torch.randn(self.paint.weight.shape, generator=generator))
            self.paint.bias.zero_()
        self.codes = nn.Parameter(torch.zeros(len(names), 3))

    def training_view(self, view: View, progress: float, generator: torch.Generator) -> View:
        left = int(torch.randint(view.width - view.width // 2 + 1, (), generator=generator))
        return view.cropped(left, 0, view.width // 2, view.height).resized(12, 16)

    def appearance(self, name: str) -> Tensor:
        return self.codes[self.names.index(name)] if name in self.names else self.mean_appearance()

    def mean_appearance(self) -> Tensor:
        return self.codes.mean(dim=0)

    def encode(self, photo: Tensor) -> Tensor:
        raise BadInput("a panorama encodes nothing")

    def training_appearance(self, name: str, photo: Tensor) -> Tensor:
        return self.appearance(name)

    def render(
        self, view: View, appearance: Tensor, channels: Tensor | None = None, normals: bool = False
    ) -> Rendering:
        if normals:
            raise BadInput("a panorama has no normals")
        if self.steady:
            view = replace(view, camera_to_world=view.camera_to_world.detach())
        rays = ray_directions(view, pixel_centres(view)) + 0.3 * view.centre
        waves = torch.cat([rays, torch.sin(2 * rays), torch.sin(5 * rays), torch.cos(3 * rays)], dim=-1)
        colour = torch.sigmoid(self.paint(waves) + appearance)
        ones = torch.ones_like(colour[..., 0])
        return Rendering(colour, ones, ones)

    def lift(self, view: View, maps: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        return (maps * weight[..., None]).sum(dim=(0, 1))[None], weight.sum()[None]

    def optimiser(self) -> Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.02)

    def after_step(self, step: int, steps: int, optimiser: Optimizer) -> None:
        pass

    def save(self, path: Path) -> None:
        save_file({key: value.detach().contiguous() for key, value in self.state_dict().items()}, path)

    def load(self, path: Path) -> None:
        self.codes = nn.Parameter(torch.zeros_like(load_file(path)["codes"]))
        self.load_state_dict(load_file(path))
