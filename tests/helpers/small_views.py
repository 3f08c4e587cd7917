"""A few Gaussians and two cameras, for tests of semantic heads."""

from __future__ import annotations

import math

import torch

from halonerf.fields.gaussians.field import Gaussians
from halonerf.types import View


def two_clusters() -> Gaussians:
    """Two well separated, nearly opaque clusters: the left third and the right third of the view."""
    random = torch.Generator().manual_seed(0)
    points = torch.randn(80, 3, generator=random) * torch.tensor([0.06, 0.2, 0.05])
    points[:40, 0] -= 0.5
    points[40:, 0] += 0.5
    made = Gaussians()
    made.initialise(points, torch.rand(80, 3, generator=random), ["a.jpg"], seed=0)
    with torch.no_grad():
        made.opacity_logits.fill_(2.0)
        made.log_scales.fill_(math.log(0.04))
    return made.eval()


def view(shift: float = 0.0) -> View:
    pose = torch.eye(3, 4)
    pose[0, 3], pose[2, 3] = shift, -2.0
    return View(48, 32, 50.0, 50.0, 24.0, 16.0, pose)


VIEWS = [view(-0.1), view(0.1)]
