"""Gaussian splats as viewers read them: the PLY of Kerbl et al. (3D Gaussian Splatting, 2023), without harmonics.

x y z              centre
nx ny nz           zero, as in the original
f_dc_0..2          colour: (rgb - 0.5) / 0.28209479, the constant spherical harmonic
opacity            logit
scale_0..2         natural logarithm of the standard deviations
rot_0..3           unit quaternion, w x y z
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from halonerf.stages.export.formats.ply import write_ply
from halonerf.types import Splats

CONSTANT = 0.28209479177387814  # of the spherical harmonics: 1 / (2 sqrt(pi))
SUREST = 1e-6  # opacities are held this far from 0 and 1, where a logit ends
THINNEST = 1e-9  # a flat splat's height: a logarithm of it exists


def write_splats(path: Path, splats: Splats, colours: Tensor, comments: Sequence[str] = ()) -> int:
    """Write splats with colours [N, 3] in [0, 1]; how many there are: those without a place are left out."""
    placed = splats.centres.isfinite().all(dim=1)
    centres = splats.centres[placed].cpu().float().numpy()
    dc = (colours[placed].cpu().float().clamp(0, 1).numpy() - 0.5) / CONSTANT
    logits = torch.logit(splats.opacities[placed].cpu().double().clamp(SUREST, 1 - SUREST)).float().numpy()
    scales = splats.scales[placed].cpu().float().clamp(min=THINNEST).log().numpy()
    rotations = torch.nn.functional.normalize(splats.rotations[placed].cpu().float(), dim=1).numpy()
    zero = np.zeros(len(centres), np.float32)
    columns = {axis: centres[:, i] for i, axis in enumerate("xyz")}
    columns |= dict.fromkeys(("nx", "ny", "nz"), zero)
    columns |= {f"f_dc_{i}": dc[:, i] for i in range(3)}
    columns["opacity"] = logits
    columns |= {f"scale_{i}": scales[:, i] for i in range(3)}
    columns |= {f"rot_{i}": rotations[:, i] for i in range(4)}
    write_ply(path, columns, comments)
    return len(centres)
