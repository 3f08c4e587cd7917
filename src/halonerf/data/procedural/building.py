"""A landmark by its kind and seed: the building, its town, its materials."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from halonerf.data.procedural.cathedral import cathedral
from halonerf.data.procedural.mesh import Array, MeshPart, Shell
from halonerf.data.procedural.mosque import mosque
from halonerf.data.procedural.synagogue import synagogue
from halonerf.data.procedural.textures import Texture, paint
from halonerf.data.procedural.town import town
from halonerf.errors import BadInput

GENERATOR_VERSION = 1  # raise it when the same options give other photos
ARCHITECTS = {"cathedral": cathedral, "mosque": mosque, "synagogue": synagogue}
CONCEPTS = {
    "cathedral": ("portal", "window", "rose window", "tower", "spire", "dome"),
    "mosque": ("portal", "window", "dome", "minaret"),
    "synagogue": ("portal", "window", "rose window", "tower", "dome"),
}


@dataclass(frozen=True)
class Building:
    """Geometry with its surroundings, and the parts that a visitor may point a camera at."""

    kind: str
    seed: int
    shell: Shell
    parts: tuple[MeshPart, ...]
    concepts: tuple[str, ...]  # those of its kind that this one has

    @property
    def extent(self) -> Array:
        """Bounding box of the front and its towers, up to 25 m behind the front, [2, 3]."""
        corners = np.concatenate([part.corners for part in self.parts if part.low[1] < 25.0])
        return np.stack([corners.min(0), corners.max(0)])

    def textures(self, width: int) -> dict[str, Texture]:
        """Its materials: masonry at 2 cm a pixel, coarser where photos `width` px wide show no more."""
        return paint(self.kind, stream(self.kind, self.seed, "paint"), max(0.02, 5.8 / width))


def build(kind: str, seed: int) -> Building:
    """Design the landmark.

    Raises: BadInput for a kind that there is not.
    """
    if kind not in ARCHITECTS:
        raise BadInput(
            f"expected a kind of landmark, one of {', '.join(ARCHITECTS)}, got '{kind}'.\n"
            f"Try: scene={next(iter(ARCHITECTS))}"
        )
    shell = Shell()
    ARCHITECTS[kind](shell, stream(kind, seed, "design"))
    parts = tuple(shell.parts)
    town(shell, stream(kind, seed, "town"))
    present = {part.name for part in parts}
    return Building(kind, seed, shell, parts, tuple(c for c in CONCEPTS[kind] if c in present))


def stream(kind: str, seed: int, purpose: str, index: int = 0) -> Generator:
    """Random numbers that depend on these four alone."""
    words = [int.from_bytes(word.encode(), "little") % 2**61 for word in (kind, purpose)]
    return np.random.default_rng([seed, *words, index])
