"""Compositing of splats into an image: tile by tile, splat by splat, 4 x 4 pixels at once (`halonerf.splatting.lanes`).

A tile's pixels are stored block by block, the sixteen of a block side by side; a splat is evaluated in the blocks that
its ellipse reaches. `light` holds the transmittance of every pixel; once a pixel is finished, its negative.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from halonerf.splatting.compiled import compiled
from halonerf.splatting.constants import ALPHA_MAX, MIN_TRANSMITTANCE
from halonerf.splatting.lanes import (
    LANES,
    above,
    at_most,
    choose,
    larger,
    load,
    lowest_bit,
    prefetch,
    smaller,
    splat,
    store,
    total,
)
from halonerf.splatting.projection import SPLAT
from halonerf.splatting.tiles import BLOCK, HALF_W, TILE_H, TILE_W

PIXELS = TILE_W * TILE_H
PREFETCH_SPLATS = 4  # distance of prefetched splats
CHECK_EVERY = 8  # splats between two checks whether a tile is finished
REGISTER_FEATURES = 3  # features kept in registers; others go through memory

# exp(t) on [-0.70, 0], minimax in relative error (8e-8), degree 5; its eighth power covers [-5.6, 0] to 2.3e-6.
E0, E1, E2, E3, E4, E5 = (
    np.float32(value) for value in (0.99999992, 0.99999254, 0.49988259, 0.16597397, 0.03977256, 0.00584676)
)
ALPHA_CAP, TRANSMITTANCE_FLOOR = np.float32(ALPHA_MAX), np.float32(MIN_TRANSMITTANCE)
EIGHTH, HALF, ONE, ZERO = np.float32(-0.125), np.float32(0.5), np.float32(1.0), np.float32(0.0)


@compiled()
def fall_off(q):
    """exp(-q), lane by lane, for 0 <= q <= 5.6, within 2.3e-6 of its value."""
    t = q * splat(EIGHTH)
    e = splat(E0) + t * (splat(E1) + t * (splat(E2) + t * (splat(E3) + t * (splat(E4) + t * splat(E5)))))
    e = e * e
    e = e * e
    return e * e


@compiled()
def alpha_of(a, e, opacity, fall, p, dy):
    """A splat's alpha in sixteen pixels at offsets (p + s dy, dy), px, from its centre; zero outside its ellipse.

    The exponent is a p^2 + e dy^2: a and e are half of those in `halonerf.splatting.projection`.
    """
    q = a * p * p + e * dy * dy
    stopped = smaller(opacity * fall_off(smaller(larger(q, splat(ZERO)), fall)), splat(ALPHA_CAP))
    return choose(at_most(q, fall), stopped, splat(ZERO))


@compiled()
def take(light, p, alpha):
    """Lower the transmittance of sixteen pixels from `p` on by a splat; its weight, and its alpha where it is drawn.

    Every pass over the splats decides here, and so in the same way, which of them a pixel composites.
    """
    before, none = load(light, p), splat(ZERO)
    weight = before * alpha
    after = before - weight
    drawn = above(after, splat(TRANSMITTANCE_FLOOR))
    store(light, p, choose(drawn, after, smaller(before, none - before)))
    return choose(drawn, weight, none), choose(drawn, alpha, none)


@compiled()
def place_of(x, y):
    """Index of a tile's pixel (x, y) in its storage."""
    block = (x // HALF_W) * LANES + (y // BLOCK) * BLOCK + (x % HALF_W) // BLOCK
    return block * LANES + (y % BLOCK) * BLOCK + x % BLOCK


@compiled()
def open_tile(left, top, width, height):
    """x and y of a tile's pixel centres, px of the tile, and their transmittance: 1 in the image, 0 outside it."""
    px, py, light = np.empty(PIXELS, np.float32), np.empty(PIXELS, np.float32), np.empty(PIXELS, np.float32)
    for y in range(TILE_H):
        for x in range(TILE_W):
            p = place_of(x, y)
            px[p] = np.float32(x) + HALF
            py[p] = np.float32(y) + HALF
            light[p] = ONE if left + x < width and top + y < height else ZERO
    return px, py, light


@compiled()
def finished(light):
    """Whether all pixels of a tile are finished."""
    highest = load(light, 0)
    for p in range(LANES, PIXELS, LANES):
        highest = larger(highest, load(light, p))
    return total(larger(highest, splat(ZERO))) <= ZERO


@compiled()
def scattered(k, tiles):
    """The k-th tile to process: evenly spread, so that all threads get parts of the image with many splats."""
    columns, k = 7, np.int64(k)  # a parallel loop's counter is unsigned, and unsigned with signed makes a float
    rows = np.int64(tiles) // columns
    return (k % rows) * columns + k // rows if k < rows * columns else k


@compiled()
def load_tile(image, left, top, out):
    """Copy a tile of image [H, W, C] to out [C * PIXELS], channel by channel; zero outside the image."""
    height, width, count = image.shape
    out[:] = ZERO
    for y in range(min(TILE_H, height - top)):
        for x in range(min(TILE_W, width - left)):
            p = place_of(x, y)
            for c in range(count):
                out[c * PIXELS + p] = image[top + y, left + x, c]


@compiled(parallel=True)
def composite(splats, starts, listed, splat_of, blocks_of, tiles_x, image, used):
    """Fill image [H, W, C + 2] (features, depth times opacity, opacity) and used [tiles], the pairs each tile needed.

    splats: [N, 10 + C or more], C >= 3, as `projection.project` fills it; the others as `halonerf.splatting.tiles` do.
    """
    height, width, last = image.shape
    count = last - 2
    for k in prange(used.shape[0]):
        tile = scattered(k, used.shape[0])
        left, top = (tile % tiles_x) * TILE_W, (tile // tiles_x) * TILE_H
        px, py, light = open_tile(left, top, width, height)
        sums = np.zeros((count + 1) * PIXELS, np.float32)
        begin, end = starts[tile], starts[tile + 1]
        place = begin
        while place < end:
            if (place - begin) % CHECK_EVERY == 0 and finished(light):
                break
            pair = listed[place]
            prefetch(splats, splat_of[listed[min(place + PREFETCH_SPLATS, end - 1)]] * splats.shape[1])
            _add_splat(splats, splat_of[pair], blocks_of[pair], left, top, px, py, light, sums, count)
            place += 1
        used[tile] = place - begin
        for y in range(min(TILE_H, height - top)):
            for x in range(min(TILE_W, width - left)):
                p = place_of(x, y)
                for c in range(count + 1):
                    image[top + y, left + x, c] = sums[c * PIXELS + p]
                image[top + y, left + x, count + 1] = ONE - abs(light[p])


@compiled()
def _add_splat(splats, i, blocks, left, top, px, py, light, sums, count):
    """Add one splat to a tile's sums [(C + 1) * PIXELS] (features, depth) and lower the transmittance."""
    u, v = splat(splats[i, 0] - np.float32(left)), splat(splats[i, 1] - np.float32(top))
    a, s, e = splat(HALF * splats[i, 2]), splat(splats[i, 3]), splat(HALF * splats[i, 4])
    opacity, fall, depth = splat(splats[i, 5]), splat(splats[i, 6]), splat(splats[i, 7])
    red, green, blue = splat(splats[i, SPLAT]), splat(splats[i, SPLAT + 1]), splat(splats[i, SPLAT + 2])
    while blocks != 0:
        p = lowest_bit(blocks) * LANES
        blocks &= blocks - 1
        dy = load(py, p) - v
        alpha = alpha_of(a, e, opacity, fall, load(px, p) - u - s * dy, dy)
        weight, _ = take(light, p, alpha)
        store(sums, p, load(sums, p) + weight * red)
        store(sums, PIXELS + p, load(sums, PIXELS + p) + weight * green)
        store(sums, 2 * PIXELS + p, load(sums, 2 * PIXELS + p) + weight * blue)
        for k in range(REGISTER_FEATURES, count):
            at = k * PIXELS + p
            store(sums, at, load(sums, at) + weight * splat(splats[i, SPLAT + k]))
        at = count * PIXELS + p
        store(sums, at, load(sums, at) + weight * depth)
