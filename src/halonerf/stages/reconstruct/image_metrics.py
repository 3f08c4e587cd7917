"""How well a field shows a photo. One it was not fitted to gives away its light with its left half only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from halonerf.geometry import sample_picture
from halonerf.losses import photometric
from halonerf.metrics import psnr, ssim
from halonerf.protocols import TrainableField
from halonerf.types import View

SSIM_WINDOW = 7  # px
LEARNING_RATE = 0.1  # Adam's, of the code; decays to a tenth


def score_training_photos(
    field: TrainableField, view: View, photo: Tensor, valid: Tensor, code: Tensor, perceptual: Perceptual | None
) -> dict[str, float | None]:
    """Figures of a fitted photo, the whole of it, in the light `code` [A]: see `comparison_picture`."""
    return comparison_picture(_shown(field, view, code), photo, valid, perceptual)


def score_heldout_photos(
    field: TrainableField,
    view: View,
    photo: Tensor,
    valid: Tensor,
    lights: Sequence[Tensor],
    steps: int,
    perceptual: Perceptual | None,
) -> dict[str, float | None]:
    """Figures of a photo that was not fitted: the left W - W // 2 columns give its light, the others are scored."""
    seen = view.width - view.width // 2
    code = fit_appearance(field, view, photo, valid, lights, steps)
    return comparison_picture(_shown(field, view, code)[:, seen:], photo[:, seen:], valid[:, seen:], perceptual)


def fit_appearance(
    field: TrainableField, view: View, photo: Tensor, valid: Tensor, lights: Sequence[Tensor], steps: int
) -> Tensor:
    """The code [A] in which the field looks most like the left W - W // 2 columns of a photo; all else is frozen.

    It starts from what the field reads off the left half where it encodes, else from that of `lights`, codes [A] of
    fitted photos, and of their mean in which the left half looks right best. What the field learns from at a time
    (`window`) is what it is asked here.

    photo: [H, W, 3] in [0, 1]. valid: bool [H, W].
    """
    seen = view.width - view.width // 2
    left = view.cropped(0, 0, seen, view.height)
    known = torch.cat([photo, valid[..., None].to(photo)], dim=-1)
    known = torch.cat([known[:, :seen], known[:, seen - 1 : seen].expand(-1, view.width - seen, -1)], dim=1)
    with torch.no_grad():
        start = field.encode(photo[:, :seen]) if field.encodes else _likeliest(field, left, known, lights)
    code = start.detach().clone().requires_grad_()
    optimiser = torch.optim.Adam([code], lr=LEARNING_RATE)
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = LEARNING_RATE * 0.1 ** (step / steps)
        loss = _unlike(field, field.training_view(left, 1.0, generator), known, code)
        if not loss.requires_grad:  # a field whose light is always the same
            break
        (code.grad,) = torch.autograd.grad(loss, [code])
        optimiser.step()
    return code.detach()


def _likeliest(field: TrainableField, left: View, known: Tensor, lights: Sequence[Tensor]) -> Tensor:
    """Of the mean code and `lights`, that in which the left half is most like the photo, at a quarter of its size."""
    small = left.resized(max(1, left.width // 4), max(1, left.height // 4))
    codes = [field.mean_appearance(), *lights]
    return codes[int(torch.stack([_unlike(field, small, known, code) for code in codes]).argmin())]


def _unlike(field: TrainableField, view: View, known: Tensor, code: Tensor) -> Tensor:
    """Mean absolute error of what the field shows in `view`, over the valid pixels of `known` [h, w, 3 + 1]."""
    target = sample_picture(known, view, field.antialiased)
    weight = (target[..., 3] > 0.99).float()
    weight = weight / weight.mean().clamp(min=1e-8)
    return photometric(field.render(view, code).colour, target[..., :3], weight, ssim_share=0.0)


def comparison_picture(
    image: Tensor, photo: Tensor, valid: Tensor, perceptual: Perceptual | None
) -> dict[str, float | None]:
    """PSNR (dB), SSIM and LPIPS of a rendering in 8 bits against a photo, [H, W, 3] in [0, 1] both.

    valid: bool [H, W], the pixels that count; for LPIPS the others are black in both. None where a figure is not
    defined or infinite, where the picture is too small for it, and LPIPS where its weights are not on disk.
    """
    image = (image.clamp(0, 1) * 255).round() / 255
    shown, truth, known = (t.cpu().numpy() for t in (image, photo, valid))
    scores = {"psnr": psnr(shown, truth, known), "ssim": float("nan"), "lpips": float("nan")}
    if min(shown.shape[:2]) >= SSIM_WINDOW:
        scores["ssim"] = ssim(shown, truth, known, SSIM_WINDOW)
    if perceptual is not None and min(shown.shape[:2]) >= SHORTEST and known.any():
        scores["lpips"] = perceptual(image * valid[..., None], photo * valid[..., None])
    return {key: value if np.isfinite(value) else None for key, value in scores.items()}


def means_of(photos: Iterable[Mapping[str, float | None]]) -> dict[str, float | None]:
    """The mean of each figure over the photos that have it; None where none has."""
    photos = list(photos)
    means: dict[str, float | None] = {}
    for key in ("psnr", "ssim", "lpips"):
        defined = [value for scores in photos if (value := scores[key]) is not None]
        means[key] = float(np.mean(defined)) if defined else None
    return means


@torch.no_grad()
def _shown(field: TrainableField, view: View, code: Tensor) -> Tensor:
    return field.render(view, code).colour


SHORTEST = 32  # px, the shorter side that AlexNet's poolings need
BACKBONE = "alexnet-owt-7be5be79.pth"  # torchvision's, in torch.hub.get_dir() / checkpoints
LAST_OF_SLICE = (1, 4, 7, 9, 11)  # AlexNet's layers after which features are compared
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of colours in [-1, 1]


class Perceptual(nn.Module):
    """How different two pictures look: squared distances of AlexNet's unit features, weighted as people judged.

    Args:
        backbone: state of torchvision's AlexNet.
        heads: state of the five weightings, as torchmetrics packages them.
    """

    def __init__(self, backbone: dict[str, Any], heads: dict[str, Any]) -> None:
        super().__init__()
        from torchvision.models import alexnet

        network = alexnet(weights=None)
        network.load_state_dict(backbone)
        self.features = network.features[: LAST_OF_SLICE[-1] + 1].eval().requires_grad_(False)
        self.heads = [heads[f"lin{k}.model.1.weight"] for k in range(len(LAST_OF_SLICE))]

    @torch.no_grad()
    def forward(self, image: Tensor, other: Tensor) -> float:
        """image, other: [H, W, 3] in [0, 1], sides of at least `SHORTEST` px. Returns: 0 where equal."""
        pair = torch.stack([image, other]).permute(0, 3, 1, 2).float().cpu() * 2 - 1
        pair = (pair - pair.new_tensor(SHIFT)[:, None, None]) / pair.new_tensor(SCALE)[:, None, None]
        total, heads = 0.0, iter(self.heads)
        for k, layer in enumerate(self.features):
            pair = layer(pair)
            if k in LAST_OF_SLICE:
                unit = pair / (pair.square().sum(dim=1, keepdim=True) + 1e-8).sqrt()
                total += float((next(heads)[0] * (unit[0] - unit[1]).square()).sum(dim=0).mean())
        return total


def perceptual() -> Perceptual | None:
    """The measure where its weights are on disk; None elsewhere: nothing is ever downloaded for a figure."""
    backbone = Path(torch.hub.get_dir()) / "checkpoints" / BACKBONE
    package = find_spec("torchmetrics")
    if not backbone.is_file() or package is None or package.origin is None:
        return None
    heads = Path(package.origin).parent / "functional" / "image" / "lpips_models" / "alex.pth"
    if not heads.is_file():
        return None
    return Perceptual(*(torch.load(path, map_location="cpu", weights_only=True) for path in (backbone, heads)))
