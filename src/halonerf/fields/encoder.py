"""A CNN that computes the appearance code of a photo, and the initial values of networks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halonerf.errors import BadInput

MIN_SIDE = 16  # px, shorter side: less would vanish in four halvings
WIDTHS = (64, 128, 256, 256, 256)  # channels: 7x7, then four 4x4 of stride 2 (Chen et al., Ha-NeRF, 2022)


class AppearanceEncoder(nn.Module):
    """Five convolutions, the mean over the image, and a linear layer (Chen et al., Ha-NeRF, 2022, section 3.2).

    Args:
        code_size: A, numbers in a code.
        max_side: px, at least 16; a photo with a longer side is shrunk to it first. A code is a mean over the image,
            and the cost grows with the pixels: 0.3 billion multiplications for 64 x 48.
    """

    def __init__(self, code_size: int, max_side: int = 64) -> None:
        super().__init__()
        self.max_side = max_side
        layers: list[nn.Module] = []
        for before, after in zip((3, *WIDTHS), WIDTHS, strict=False):
            kernel, stride = (4, 2) if layers else (7, 1)
            padding = (kernel - 1) // 2
            layers += [
                nn.Conv2d(before, after, kernel, stride, padding, padding_mode="reflect"),
                nn.ReLU(inplace=True),
            ]
        self.layers = nn.Sequential(*layers)
        self.to_code = nn.Linear(WIDTHS[-1], code_size)

    def forward(self, photo: Tensor) -> Tensor:
        """The code [A] of a photo [H, W, 3] in [0, 1], of any size; differentiable in both.

        Raises: BadInput for another shape.
        """
        if photo.dim() != 3 or photo.shape[-1] != 3:
            raise BadInput(f"expected a photo of shape [height, width, 3], got {list(photo.shape)}")
        image = _resized(2 * photo.permute(2, 0, 1)[None] - 1, self.max_side)
        return self.to_code(self.layers(image).mean(dim=(2, 3)))[0]


def _resized(image: Tensor, max_side: int) -> Tensor:
    """An image [1, C, H, W] with sides of at least `MIN_SIDE` and the longer one of at most `max_side` px."""
    height, width = image.shape[-2:]
    scale = min(1.0, max_side / max(height, width))
    size = [max(MIN_SIDE, round(side * scale)) for side in (height, width)]
    if size == [height, width]:
        return image
    return F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)


def initialise_layers(module: nn.Module, generator: torch.Generator) -> None:
    """Set the initial weights and biases of all linear and convolutional layers, random by `generator` alone.

    Weights and biases are uniform within 1 / sqrt(inputs of a unit), as PyTorch sets them.
    """
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                bound = layer.weight[0].numel() ** -0.5
                for parameter in layer.parameters():
                    parameter.copy_((2 * torch.rand(parameter.shape, generator=generator) - 1) * bound)
