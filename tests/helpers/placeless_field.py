"""A field whose elements have no places."""

from __future__ import annotations

import torch

from halonerf.types import Rendering


class Nowhere:
    """A field that says nothing of places."""

    elements = 3

    def mean_appearance(self):
        return torch.zeros(1)

    def render(self, view, appearance, channels=None, normals=False):
        zeros = torch.zeros(view.height, view.width)
        return Rendering(zeros[..., None].expand(-1, -1, 3), zeros, zeros)

    def lift(self, view, maps, weight):
        return torch.zeros(3, maps.shape[2]), torch.zeros(3)
