"""From a photo to the code of its light, for photos that were never fitted too."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halonerf.errors import BadInput

SMALLEST = 16  # px, shorter side: below it nothing would be left after four halvings
WIDTHS = (64, 128, 256, 256, 256)  # channels: 7x7, then four 4x4 of stride 2 (Chen et al., Ha-NeRF, 2022)


class AppearanceEncoder(nn.Module):
    """Five convolutions, the mean over the picture, and a linear layer (Chen et al., Ha-NeRF, 2022, section 3.2).

    Args:
        code_size: numbers in a code.
        largest: px; a photo whose longer side is larger is shrunk to it first. A code is a mean over the picture, and
            the cost grows with the pixels: 0.3 billion multiplications for 64 x 48.
    """

    def __init__(self, code_size: int, largest: int = 64) -> None:
        super().__init__()
        if largest < SMALLEST:
            raise BadInput(f"expected pictures of at least {SMALLEST} px for the appearance encoder, got {largest}")
        self.largest = largest
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
        picture = _fitted(2 * photo.permute(2, 0, 1)[None] - 1, self.largest)
        return self.to_code(self.layers(picture).mean(dim=(2, 3)))[0]


def _fitted(picture: Tensor, largest: int) -> Tensor:
    """A picture [1, C, H, W] between the smallest and the largest size that the encoder takes, px."""
    height, width = picture.shape[-2:]
    scale = min(1.0, largest / max(height, width))
    size = [max(SMALLEST, round(side * scale)) for side in (height, width)]
    if size == [height, width]:
        return picture
    return F.interpolate(picture, size, mode="bilinear", align_corners=False, antialias=True)


def initialise_layers(module: nn.Module, generator: torch.Generator) -> None:
    """Give every weight and bias of linear and convolutional layers its first value, from `generator` alone.

    Weights by He et al. (2015, eq. 10, uniform, for the ReLU that follows); biases zero.
    """
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                bound = (6 / layer.weight[0].numel()) ** 0.5
                layer.weight.copy_((2 * torch.rand(layer.weight.shape, generator=generator) - 1) * bound)
                if layer.bias is not None:
                    layer.bias.zero_()
