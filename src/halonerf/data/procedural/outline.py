"""Outlines of openings in a wall: x samples with a lower and an upper curve, metres in the wall's frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from halonerf.data.procedural.mesh import Array

Style = Literal["round", "pointed", "keel", "flat"]


@dataclass(frozen=True)
class Outline:
    """An opening's border, metres: xs [N], increasing; lower and upper curve low, high [N]."""

    xs: Array
    low: Array
    high: Array

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Bounding box: left, right, bottom, top."""
        return float(self.xs[0]), float(self.xs[-1]), float(self.low.min()), float(self.high.max())

    def arch(self) -> Array:
        """Jambs and arch from the left foot to the right one, [N + 2, 2]."""
        feet = [(self.xs[0], self.low[0])], [(self.xs[-1], self.low[-1])]
        return np.concatenate([feet[0], np.stack([self.xs, self.high], 1), feet[1]])

    def loop(self) -> Array:
        """Closed border, [2 N + 1, 2]."""
        below = np.stack([self.xs, self.low], 1)
        above = np.stack([self.xs, self.high], 1)[::-1]
        return np.concatenate([below, above, below[:1]])

    def above(self, height: float) -> Outline:
        """The part above `height`."""
        return Outline(self.xs, np.clip(height, self.low, self.high), np.maximum(self.high, height))


def arched(centre: float, sill: float, width: float, spring: float, style: Style, samples: int = 10) -> Outline:
    """Outline of a door or window: straight to height `spring`, then an arch.

    round: a half circle. pointed: two arcs with the width as radius (equilateral Gothic arch). keel: low shoulders
    and a point (four-centred, Persian). flat: a lintel.
    """
    t = -np.cos(np.linspace(0.0, np.pi, samples + 1))  # dense at the jambs, where arches are steep
    half, distance = width / 2, np.abs(t)
    rise = {
        "round": half * np.sqrt(1 - distance**2),
        "pointed": np.sqrt(np.maximum(width**2 - (distance * half + half) ** 2, 0.0)),
        "keel": half * (0.75 * np.sqrt(1 - distance**2) + 0.45 * (1 - distance) ** 1.2),
        "flat": np.zeros_like(t),
    }[style]
    return Outline(centre + half * t, np.full_like(t, sill), spring + rise)


def circle(centre: float, height: float, radius: float, samples: int = 32) -> Outline:
    """Outline of a round opening about (centre, height)."""
    t = -np.cos(np.linspace(0.0, np.pi, samples + 1))
    rise = radius * np.sqrt(np.maximum(1 - t**2, 0.0))
    return Outline(centre + radius * t, height - rise, height + rise)
