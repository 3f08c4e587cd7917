"""Format `splats`: the PLY of Kerbl et al. (3D Gaussian Splatting, 2023) with degree 0 of the harmonics only.

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
from typing import Any

import numpy as np
import torch
from torch import Tensor

from halonerf.stages.export.contents import ExportContents
from halonerf.stages.export.formats.ply import write_ply
from halonerf.types import Splats

SH_0 = 0.28209479177387814  # the constant spherical harmonic, 1 / (2 sqrt(pi))
OPACITY_MARGIN = 1e-6  # opacities are clamped to this distance from 0 and 1, where logits are infinite
MIN_SCALE = 1e-9  # standard deviations are clamped to it before the logarithm


class GaussianSplats:
    """Splats in the chosen light, and coloured by concept."""

    name = "splats"
    summary = (
        "splats.ply: Gaussian splats in the light below. concepts.ply: the same, each in the colour of the rarest "
        "concept that reaches the threshold there, else grey. Layout of Kerbl et al. 2023: opacity is a logit, "
        "scale_* are natural logarithms of standard deviations, rot_* a quaternion w x y z, colour = 0.5 + "
        "0.28209479 f_dc_*; no higher spherical harmonics."
    )
    wants_images = False

    def write(self, contents: ExportContents, folder: Path) -> dict[str, Any]:
        """Write splats.ply and concepts.ply; `splats`: their number."""
        splats, colours = contents.splats, contents.colours
        moved = contents.frame.splats(splats)
        count = write_splats(folder / "splats.ply", moved, colours, contents.comments)
        painted = contents.concepts.paint(splats, colours, contents.thresholds)
        write_splats(folder / "concepts.ply", moved, painted, contents.comments)
        return {"splats": count}


def write_splats(path: Path, splats: Splats, colours: Tensor, comments: Sequence[str] = ()) -> int:
    """Atomically write the splats with finite centres; their number. colours: [N, 3] in [0, 1]."""
    finite = splats.centres.isfinite().all(dim=1)
    centres = splats.centres[finite].cpu().float().numpy()
    dc = (colours[finite].cpu().float().clamp(0, 1).numpy() - 0.5) / SH_0
    logits = (
        torch.logit(splats.opacities[finite].cpu().double().clamp(OPACITY_MARGIN, 1 - OPACITY_MARGIN)).float().numpy()
    )
    scales = splats.scales[finite].cpu().float().clamp(min=MIN_SCALE).log().numpy()
    rotations = torch.nn.functional.normalize(splats.rotations[finite].cpu().float(), dim=1).numpy()
    zero = np.zeros(len(centres), np.float32)
    columns = {axis: centres[:, i] for i, axis in enumerate("xyz")}
    columns |= dict.fromkeys(("nx", "ny", "nz"), zero)
    columns |= {f"f_dc_{i}": dc[:, i] for i in range(3)}
    columns["opacity"] = logits
    columns |= {f"scale_{i}": scales[:, i] for i in range(3)}
    columns |= {f"rot_{i}": rotations[:, i] for i in range(4)}
    write_ply(path, columns, comments)
    return len(centres)
