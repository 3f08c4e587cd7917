"""A procedural landmark by kind and seed: geometry of the building and its surroundings, and its materials."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from halonerf.data.procedural.cathedral import cathedral
from halonerf.data.procedural.mesh import Array, MeshBuilder, MeshPart
from halonerf.data.procedural.mosque import mosque
from halonerf.data.procedural.synagogue import synagogue
from halonerf.data.procedural.textures import Texture, paint
from halonerf.data.procedural.town import town
from halonerf.errors import BadInput

GENERATOR_VERSION = 1  # raise it when photos of the same options change
BUILDERS = {"cathedral": cathedral, "mosque": mosque, "synagogue": synagogue}
CONCEPTS = {
    "cathedral": ("portal", "window", "rose window", "tower", "spire", "dome"),
    "mosque": ("portal", "window", "dome", "minaret"),
    "synagogue": ("portal", "window", "rose window", "tower", "dome"),
}


@dataclass(frozen=True)
class Building:
    """A landmark with its surroundings, and the parts that close-ups may show."""

    kind: str
    seed: int
    mesh: MeshBuilder
    parts: tuple[MeshPart, ...]
    concepts: tuple[str, ...]  # concepts of its kind that this building has

    @property
    def extent(self) -> Array:
        """Bounding box, [2, 3] metres, of the parts up to 25 m behind the front."""
        corners = np.concatenate([part.corners for part in self.parts if part.low[1] < 25.0])
        return np.stack([corners.min(0), corners.max(0)])

    def textures(self, width: int) -> dict[str, Texture]:
        """Textures by material, masonry at 2 cm per pixel, coarser where photos of `width` px do not resolve that."""
        return paint(self.kind, stream(self.kind, self.seed, "paint"), max(0.02, 5.8 / width))


def build(kind: str, seed: int) -> Building:
    """Geometry of the landmark of a kind and seed.

    Raises: BadInput for an unknown kind.
    """
    if kind not in BUILDERS:
        raise BadInput(
            f"expected a kind of landmark, one of {', '.join(BUILDERS)}, got '{kind}'.\n"
            f"Try: scene={next(iter(BUILDERS))}"
        )
    mesh = MeshBuilder()
    BUILDERS[kind](mesh, stream(kind, seed, "design"))
    parts = tuple(mesh.parts)
    town(mesh, stream(kind, seed, "town"))
    present = {part.name for part in parts}
    return Building(kind, seed, mesh, parts, tuple(c for c in CONCEPTS[kind] if c in present))


def stream(kind: str, seed: int, purpose: str, index: int = 0) -> Generator:
    """Random generator seeded by these four values."""
    words = [int.from_bytes(word.encode(), "little") % 2**61 for word in (kind, purpose)]
    return np.random.default_rng([seed, *words, index])
