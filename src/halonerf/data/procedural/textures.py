"""Procedural textures of materials: masonry, roofs, glass, doors, ground."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.float32]


@dataclass(frozen=True)
class Texture:
    """A repeating texture. pixels: uint8 [H, W, 3], sRGB. metres: side of the square that it covers."""

    pixels: NDArray[np.uint8]
    metres: float


def paint(kind: str, rng: Generator, texel: float) -> dict[str, Texture]:
    """Textures by material of a landmark of a kind. texel: metres per pixel of masonry; others are coarser or finer."""
    stone, trim = _stone_colours(kind, rng)
    banded = {"synagogue": rng.uniform(0.35, 0.7), "mosque": rng.choice([0.0, 0.3]), "cathedral": 0.0}[kind]
    course = rng.uniform(0.32, 0.55)
    band = stone * [0.62, 0.5, 0.44] if kind == "synagogue" else stone * 0.7
    tile = np.array([[0.1, 0.35, 0.5], [0.08, 0.42, 0.4], [0.15, 0.22, 0.5]])[rng.integers(3)]
    copper, lead, slate = np.array([0.32, 0.5, 0.42]), np.array([0.42, 0.45, 0.48]), np.array([0.25, 0.27, 0.31])
    clay = np.array([0.52, 0.28, 0.2])
    roofs = [slate, copper, clay] if kind != "mosque" else [lead]
    domes = {
        "cathedral": [lead, copper, slate],
        "mosque": [lead, tile, lead, np.array([0.62, 0.5, 0.2])],
        "synagogue": [copper, lead, np.array([0.6, 0.46, 0.18]), slate],
    }[kind]
    materials = {
        "wall": (_masonry(rng, 48.0, texel, stone, course, band, banded), 48.0),
        "trim": (_masonry(rng, 24.0, texel, trim, 0.9, trim, 0.0, joint=0.5), 24.0),
        "ablaq": (_masonry(rng, 24.0, texel * 1.5, trim, course, band * 0.8, 1.0), 24.0),
        "carved": (_carved(rng, 12.0, texel * 0.75, trim * 0.92), 12.0),
        "tiles": (_tiles(rng, 12.0, texel * 0.75, tile, trim), 12.0),
        "roof": (_shingles(rng, 32.0, texel * 2, roofs[rng.integers(len(roofs))]), 32.0),
        "dome": (_shingles(rng, 32.0, texel * 2, domes[rng.integers(len(domes))], 0.8), 32.0),
        "glass": (_leaded(rng, 12.0, texel * 0.75, 0.12), 12.0),
        "rose glass": (_leaded(rng, 12.0, texel * 0.75, 0.4), 12.0),
        "lattice": (_lattice(rng, 12.0, texel * 0.75, trim), 12.0),
        "lattice stone": (_lattice(rng, 12.0, texel * 0.75, trim), 12.0),
        "louvre": (_louvre(rng, 12.0, texel), 12.0),
        "door": (_planks(rng, 12.0, texel * 0.75), 12.0),
        "ground": (_cobbles(rng, 64.0, texel * 1.8), 64.0),
        "grass": (_mottled(rng, 64.0, 0.25, np.array([0.33, 0.37, 0.2]), 0.3), 64.0),
        "gold": (_mottled(rng, 8.0, 0.05, np.array([0.86, 0.66, 0.25]), 0.15), 8.0),
    }
    return {
        name: Texture((np.clip(picture, 0.01, 0.97) * 255 + 0.5).astype(np.uint8), metres)
        for name, (picture, metres) in materials.items()
    }


def noise(rng: Generator, size: int, cells: int, octaves: int = 4, stretch: int = 1) -> Picture:
    """Periodic smooth noise [size, size] of mean 0 and deviation 1: `cells` per row, `stretch` times fewer per column.

    Where `size` is too small for the cells, it is constant.
    """
    total = np.zeros((2, 2), np.float32)
    for octave in range(octaves):
        across = cells * 2**octave
        if across >= size:
            break
        up = max(across // stretch, 2)
        total = _enlarged(total, across, up) + rng.standard_normal((up, across)).astype(np.float32) * 0.6**octave
    total = _enlarged(total, size, size)
    return (total - total.mean()) / max(float(total.std()), 1e-6)


def _enlarged(picture: Picture, width: int, height: int) -> Picture:
    """Periodic bicubic resampling, [height, width]."""
    rows, columns = picture.shape
    around = Image.fromarray(np.pad(picture, 2, mode="wrap"))
    return np.asarray(around.resize((width, height), Image.Resampling.BICUBIC, box=(2, 2, 2 + columns, 2 + rows)))


def _stone_colours(kind: str, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    palette = {
        "cathedral": [[0.72, 0.65, 0.53], [0.6, 0.58, 0.54], [0.66, 0.48, 0.4], [0.76, 0.72, 0.64]],
        "mosque": [[0.74, 0.7, 0.62], [0.68, 0.62, 0.52], [0.76, 0.66, 0.5], [0.62, 0.6, 0.57]],
        "synagogue": [[0.66, 0.42, 0.32], [0.74, 0.6, 0.42], [0.7, 0.52, 0.38], [0.62, 0.56, 0.48]],
    }[kind]
    stone = np.array(palette[rng.integers(len(palette))]) * rng.uniform(0.9, 1.06)
    pale = np.array([0.78, 0.74, 0.66])
    return stone, stone * 0.35 + pale * 0.65 * rng.uniform(0.9, 1.1)


def _masonry(
    rng: Generator,
    metres: float,
    texel: float,
    colour: np.ndarray,
    course: float,
    band: np.ndarray,
    banded: float,
    joint: float = 1.0,
) -> Picture:
    """Courses of blocks of different shades; joints, grime, rain streaks, lichen, speckle."""
    size = int(metres / texel)
    rows = np.cumsum(np.concatenate([[0], rng.uniform(0.75, 1.3, int(metres / course)) * course]))
    edges = np.round(rows / rows[-1] * size).astype(int)
    shade = np.zeros((size, size, 3), np.float32)
    mortar = np.zeros((size, size), bool)
    width = max(1, round(0.022 / texel))
    for index, (top, bottom) in enumerate(pairwise(edges)):
        steps = rng.uniform(0.6, 2.2, int(metres / course))
        cuts = np.round(np.cumsum(steps) / steps.sum() * size).astype(int)
        block = np.searchsorted(cuts, np.arange(size), side="right").clip(0, len(cuts) - 1)
        base = band if banded and index % 3 == 0 else colour
        mixed = colour * (1 - banded) + base * banded
        tones = mixed * (1 + rng.normal(0, 0.085, (len(cuts), 1)) + rng.normal(0, 0.022, (len(cuts), 3)))
        shade[top:bottom] = tones[block]
        mortar[top : top + width] = True
        joints = (np.concatenate([[0], cuts[:-1]])[:, None] + np.arange(width)).ravel() % size
        mortar[top:bottom, joints] = True
    grime, runs = noise(rng, size, 5, 6), noise(rng, size, 90, 2, stretch=12)
    fine, lichen = noise(rng, size, size // 8, 2), noise(rng, size, 24, 4)
    light = 1 + 0.075 * grime - 0.07 * np.clip(runs - 0.4, 0, 2) + 0.06 * fine
    light *= np.where(mortar, 1 - 0.34 * joint, 1.0)
    spots = np.clip(lichen - 1.6, 0, 1)[..., None]
    picture = shade * light[..., None].astype(np.float32)
    return picture * (1 - 0.45 * spots) + spots * 0.45 * np.array([0.3, 0.29, 0.2], np.float32)


def _carved(rng: Generator, metres: float, texel: float, colour: np.ndarray) -> Picture:
    """Carved stone: relief shaded from above, dark in its hollows."""
    size = int(metres / texel)
    relief = noise(rng, size, 40, 4)
    slope = relief - np.roll(relief, 3, axis=0)
    light = 0.92 + 0.28 * np.clip(slope / slope.std(), -2, 2) * 0.5 + 0.12 * np.clip(relief, -2, 1)
    return (colour * (light + 0.05 * noise(rng, size, 8, 4))[..., None]).astype(np.float32)


def _tiles(rng: Generator, metres: float, texel: float, glaze: np.ndarray, ground: np.ndarray) -> Picture:
    """Glazed tiles: a star pattern whose colours vary from tile to tile."""
    size = int(metres / texel)
    y, x = np.mgrid[0:size, 0:size] * (24.0 / size) * np.pi
    star = np.cos(x) + np.cos(y) + np.cos(x + y) * 0.8 + np.cos(x - y) * 0.8 + 0.5 * noise(rng, size, 6, 3)
    tone = 1 + 0.16 * np.kron(rng.standard_normal((48, 48)), np.ones((size // 48 + 1, size // 48 + 1)))[:size, :size]
    mix = np.clip(star * 1.4 + 0.5, 0, 1)[..., None]
    return ((ground * mix + glaze * (1 - mix)) * tone[..., None]).astype(np.float32)


def _shingles(rng: Generator, metres: float, texel: float, colour: np.ndarray, course: float = 0.35) -> Picture:
    picture = _masonry(rng, metres, texel, colour, course, colour, 0.0, joint=0.7)
    size = len(picture)
    patina = np.clip(noise(rng, size, 7, 5, stretch=2), -1.5, 2)[..., None]
    return picture * (1 + 0.1 * patina)


def _leaded(rng: Generator, metres: float, texel: float, saturation: float) -> Picture:
    """Dark glass in lead: quarries of many dull colours."""
    size = int(metres / texel)
    y, x = np.mgrid[0:size, 0:size] * (metres / size)
    u, v = np.floor((x + y) / 0.3).astype(int), np.floor((x - y) / 0.3).astype(int)
    count = int(metres / 0.3) * 2 + 2
    cells = rng.random((count, count, 3)) * saturation + (1 - saturation) * rng.random((count, count, 1)) * 0.5
    picture = 0.06 + 0.26 * cells[u % count, v % count]
    lead = (((x + y) % 0.3) < 0.035) | (((x - y) % 0.3) < 0.035) | ((y % 1.5) < 0.07)
    return np.where(lead[..., None], 0.05, picture * np.array([0.85, 0.95, 1.1])).astype(np.float32)


def _lattice(rng: Generator, metres: float, texel: float, stone: np.ndarray) -> Picture:
    """A pierced screen: round holes in plaster, dark behind."""
    size = int(metres / texel)
    y, x = np.mgrid[0:size, 0:size] * (metres / size)
    pitch = 0.3
    shift = (np.floor(y / pitch) % 2) * pitch / 2
    hole = np.hypot((x + shift) % pitch - pitch / 2, y % pitch - pitch / 2) < pitch * 0.33
    tone = 1 + 0.1 * noise(rng, size, 12, 4)[..., None]
    return np.where(hole[..., None], np.array([0.07, 0.07, 0.08]), stone * tone).astype(np.float32)


def _louvre(rng: Generator, metres: float, texel: float) -> Picture:
    size = int(metres / texel)
    y = np.arange(size)[:, None] * (metres / size)
    slats = 0.07 + 0.13 * ((y % 0.4) / 0.4)
    tone = slats * (1 + 0.2 * noise(rng, size, 30, 3, stretch=4))
    return (tone[..., None] * np.array([1.0, 0.92, 0.82])).astype(np.float32)


def _planks(rng: Generator, metres: float, texel: float) -> Picture:
    """Oak with nails, weathered."""
    size = int(metres / texel)
    plank = np.repeat(rng.uniform(0.75, 1.2, int(metres / 0.25)), size // int(metres / 0.25) + 1)[:size]
    y, x = np.mgrid[0:size, 0:size] * (metres / size)
    grain = noise(rng, size, 120, 2, stretch=20)
    tone = plank[None] * (1 + 0.14 * grain) * np.where((x % 0.25) < 0.02, 0.45, 1.0)
    nail = np.hypot(x % 0.25 - 0.125, y % 0.6 - 0.3) < 0.035
    colour = np.array([[0.36, 0.22, 0.13], [0.28, 0.18, 0.12], [0.2, 0.27, 0.22], [0.4, 0.2, 0.14]])[rng.integers(4)]
    return (colour * np.where(nail, 0.3, tone)[..., None]).astype(np.float32)


def _cobbles(rng: Generator, metres: float, texel: float) -> Picture:
    """Paving in bays, each of a different stone, with puddle stains."""
    grey = np.array([0.5, 0.48, 0.45]) * rng.uniform(0.85, 1.1)
    picture = _masonry(rng, metres, texel, grey, 0.42, grey, 0.0, joint=0.8)
    size = len(picture)
    bays = 10
    tone = 1 + 0.09 * rng.standard_normal((bays, bays))
    index = np.arange(size) * bays // size
    return (picture * (tone[index][:, index] * (1 + 0.07 * noise(rng, size, 9, 5)))[..., None]).astype(np.float32)


def _mottled(rng: Generator, metres: float, texel: float, colour: np.ndarray, depth: float) -> Picture:
    size = int(metres / texel)
    return (colour * (1 + depth * 0.5 * noise(rng, size, 12, 5))[..., None]).astype(np.float32)
