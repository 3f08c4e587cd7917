"""How doubt looks: the same on Gaussians as on pixels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from halonerf.pictures import heat

UNKNOWN = 0.35  # grey of what nobody has said anything about


def sureness(confidence: Tensor) -> Tensor:
    """Confidence in opaque pixels, [...], on a scale from 0 (nothing was said) to 1; one pixel is a half."""
    return confidence / (1 + confidence)


def doubt(sure: Tensor, known: Tensor) -> Tensor:
    """Colours [..., 3] of how sure something is: dark to bright, and grey in so far as it is not known.

    sure: [...] in [0, 1], see `sureness`. known: [...] in [0, 1].
    """
    ramp = torch.from_numpy(heat(np.atleast_2d(sure.numpy()), "viridis").reshape(*sure.shape, 3)).float() / 255
    return torch.lerp(torch.full_like(ramp, UNKNOWN), ramp, known[..., None])
