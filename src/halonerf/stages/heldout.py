"""How well a field shows a photo. One it was not fitted to gives away its light with its left half only."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from halonerf.losses import photometric
from halonerf.metrics import psnr, ssim
from halonerf.protocols import RadianceField
from halonerf.types import View

SSIM_WINDOW = 7  # px
LEARNING_RATE = 0.1  # Adam's, of the code; decays to a tenth


def score_view(
    field: RadianceField, view: View, photo: Tensor, valid: Tensor, appearance: Tensor, light_steps: int
) -> dict[str, float | None]:
    """PSNR and SSIM of the 8-bit render against the photo; None where they are not defined or infinite.

    Args:
        photo: [H, W, 3] in [0, 1]. valid: bool [H, W], the pixels that count.
        appearance: [A]; where to start from.
        light_steps: 0 scores the whole photo in that light. Above, the code alone is fitted to the left
            W - W // 2 columns in so many steps, and the others are scored.
    """
    seen = view.width - view.width // 2 if light_steps else 0
    code = fit_light(field, view, photo, valid, appearance, light_steps) if light_steps else appearance.detach()
    with torch.no_grad():
        colour = field.render(view, code).colour
    shown = (colour.clamp(0, 1) * 255).round() / 255
    image, truth, known = (t[:, seen:].cpu().numpy() for t in (shown, photo, valid))
    scores = {"psnr": psnr(image, truth, known), "ssim": float("nan")}
    if min(image.shape[:2]) >= SSIM_WINDOW:
        scores["ssim"] = ssim(image, truth, known, SSIM_WINDOW)
    return {key: value if np.isfinite(value) else None for key, value in scores.items()}


def fit_light(field: RadianceField, view: View, photo: Tensor, valid: Tensor, appearance: Tensor, steps: int) -> Tensor:
    """The code [A] in which the field looks most like the left W - W // 2 columns of the photo; all else is frozen."""
    code = appearance.detach().clone().requires_grad_()
    weight = valid.float()
    weight[:, view.width - view.width // 2 :] = 0
    optimiser = torch.optim.Adam([code], lr=LEARNING_RATE)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = LEARNING_RATE * 0.1 ** (step / steps)
        loss = photometric(field.render(view, code).colour, photo, weight, ssim_share=0.0)
        (code.grad,) = torch.autograd.grad(loss, [code])
        optimiser.step()
    return code.detach()
