"""PSNR, SSIM and LPIPS of a field's renderings against photos.

For a held-out photo the appearance code is optimised on the left half; the right half is scored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from halonerf.geometry import sample_image
from halonerf.losses import photometric
from halonerf.metrics import psnr, ssim
from halonerf.protocols import TrainableField
from halonerf.types import View

SSIM_WINDOW = 7  # px
CODE_LEARNING_RATE = 0.1  # Adam's; decays to a tenth


def score_training_photo(
    field: TrainableField, view: View, photo: Tensor, valid: Tensor, code: Tensor, lpips: Lpips | None
) -> dict[str, float | None]:
    """Metrics of a fitted photo, rendered as a whole under its code [A]: see `image_metrics`.

    photo: [H, W, 3] in [0, 1]. valid: bool [H, W].
    """
    return image_metrics(_render(field, view, code), photo, valid, lpips)


def score_heldout_photo(
    field: TrainableField,
    view: View,
    photo: Tensor,
    valid: Tensor,
    codes: Sequence[Tensor],
    steps: int,
    lpips: Lpips | None,
) -> dict[str, float | None]:
    """Metrics of a held-out photo: its code is optimised on the left W - W // 2 columns, the others are scored.

    Arguments as of `fit_appearance`.
    """
    left = view.width - view.width // 2
    code = fit_appearance(field, view, photo, valid, codes, steps)
    return image_metrics(_render(field, view, code)[:, left:], photo[:, left:], valid[:, left:], lpips)


def fit_appearance(
    field: TrainableField, view: View, photo: Tensor, valid: Tensor, codes: Sequence[Tensor], steps: int
) -> Tensor:
    """The appearance code [A] that minimises the error in the left W - W // 2 columns of a photo; all else is frozen.

    It starts from the code that the field computes from the left half where it encodes, else from the one of the mean
    code and `codes` that has the smallest error there. Each step renders what a step of a fit would
    (`TrainableField.training_view`).

    photo: [H, W, 3] in [0, 1]. valid: bool [H, W]. codes: [A] each, of fitted photos. steps: of Adam.
    """
    left = view.width - view.width // 2
    half = view.cropped(0, 0, left, view.height)
    known = torch.cat([photo, valid[..., None].to(photo)], dim=-1)
    known = torch.cat([known[:, :left], known[:, left - 1 : left].expand(-1, view.width - left, -1)], dim=1)
    with torch.no_grad():
        start = field.encode(photo[:, :left]) if field.encodes else _best_code(field, half, known, codes)
    code = start.detach().clone().requires_grad_()
    optimiser = torch.optim.Adam([code], lr=CODE_LEARNING_RATE)
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = CODE_LEARNING_RATE * 0.1 ** (step / steps)
        loss = _error(field, field.training_view(half, 1.0, generator), known, code)
        if not loss.requires_grad:  # a field without appearance codes
            break
        (code.grad,) = torch.autograd.grad(loss, [code])
        optimiser.step()
    return code.detach()


def _best_code(field: TrainableField, half: View, known: Tensor, codes: Sequence[Tensor]) -> Tensor:
    """The one of the mean code and `codes` with the smallest error in the left half, at a quarter of its size."""
    small = half.resized(max(1, half.width // 4), max(1, half.height // 4))
    candidates = [field.mean_appearance(), *codes]
    return candidates[int(torch.stack([_error(field, small, known, code) for code in candidates]).argmin())]


def _error(field: TrainableField, view: View, known: Tensor, code: Tensor) -> Tensor:
    """Mean absolute error of the rendering of `view` over the valid pixels; known: photo and valid, [h, w, 3 + 1]."""
    target = sample_image(known, view, field.antialiased)
    weight = (target[..., 3] > 0.99).float()
    weight = weight / weight.mean().clamp(min=1e-8)
    return photometric(field.render(view, code).colour, target[..., :3], weight, ssim_share=0.0)


def image_metrics(image: Tensor, photo: Tensor, valid: Tensor, lpips: Lpips | None) -> dict[str, float | None]:
    """PSNR (dB), SSIM and LPIPS of a rendering, rounded to 8 bits, against a photo.

    None where a metric is not defined or infinite, where the image is too small for it, and for LPIPS without weights.

    image, photo: [H, W, 3] in [0, 1]. valid: bool [H, W], the pixels that count; for LPIPS, others are black in both.
    """
    image = (image.clamp(0, 1) * 255).round() / 255
    rendered, truth, known = (t.cpu().numpy() for t in (image, photo, valid))
    scores = {"psnr": psnr(rendered, truth, known), "ssim": float("nan"), "lpips": float("nan")}
    if min(rendered.shape[:2]) >= SSIM_WINDOW:
        scores["ssim"] = ssim(rendered, truth, known, SSIM_WINDOW)
    if lpips is not None and min(rendered.shape[:2]) >= MIN_LPIPS_SIDE and known.any():
        scores["lpips"] = lpips(image * valid[..., None], photo * valid[..., None])
    return {key: value if np.isfinite(value) else None for key, value in scores.items()}


def mean_metrics(photos: Iterable[Mapping[str, float | None]]) -> dict[str, float | None]:
    """The mean of each metric over the photos for which it is defined; None where there is none."""
    photos = list(photos)
    means: dict[str, float | None] = {}
    for key in ("psnr", "ssim", "lpips"):
        defined = [value for scores in photos if (value := scores[key]) is not None]
        means[key] = float(np.mean(defined)) if defined else None
    return means


@torch.no_grad()
def _render(field: TrainableField, view: View, code: Tensor) -> Tensor:
    return field.render(view, code).colour


MIN_LPIPS_SIDE = 32  # px, the shorter side that AlexNet's poolings need
ALEXNET = "alexnet-owt-7be5be79.pth"  # torchvision's, in torch.hub.get_dir() / checkpoints
COMPARED_LAYERS = (1, 4, 7, 9, 11)  # of AlexNet, whose outputs are compared
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of colours in [-1, 1]


class Lpips(nn.Module):
    """Perceptual distance of two images: weighted squared distances of AlexNet's unit features (Zhang et al. 2018).

    Args:
        backbone: state of torchvision's AlexNet.
        heads: state of the five weightings, as torchmetrics packages them.
    """

    def __init__(self, backbone: dict[str, Any], heads: dict[str, Any]) -> None:
        super().__init__()
        from torchvision.models import alexnet

        network = alexnet(weights=None)
        network.load_state_dict(backbone)
        self.features = network.features[: COMPARED_LAYERS[-1] + 1].eval().requires_grad_(False)
        self.heads = [heads[f"lin{k}.model.1.weight"] for k in range(len(COMPARED_LAYERS))]

    @torch.no_grad()
    def forward(self, image: Tensor, other: Tensor) -> float:
        """The distance, 0 where equal. image, other: [H, W, 3] in [0, 1], sides of at least `MIN_LPIPS_SIDE` px."""
        pair = torch.stack([image, other]).permute(0, 3, 1, 2).float().cpu() * 2 - 1
        pair = (pair - pair.new_tensor(SHIFT)[:, None, None]) / pair.new_tensor(SCALE)[:, None, None]
        total, heads = 0.0, iter(self.heads)
        for k, layer in enumerate(self.features):
            pair = layer(pair)
            if k in COMPARED_LAYERS:
                unit = pair / (pair.square().sum(dim=1, keepdim=True) + 1e-8).sqrt()
                total += float((next(heads)[0] * (unit[0] - unit[1]).square()).sum(dim=0).mean())
        return total


def open_lpips() -> Lpips | None:
    """LPIPS where its weights are on disk, else None: weights are not downloaded for a metric."""
    backbone = Path(torch.hub.get_dir()) / "checkpoints" / ALEXNET
    package = find_spec("torchmetrics")
    if not backbone.is_file() or package is None or package.origin is None:
        return None
    heads = Path(package.origin).parent / "functional" / "image" / "lpips_models" / "alex.pth"
    if not heads.is_file():
        return None
    return Lpips(*(torch.load(path, map_location="cpu", weights_only=True) for path in (backbone, heads)))
