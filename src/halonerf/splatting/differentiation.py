"""Compositing, backwards: from the gradient of a picture to that of each pair of splat and tile.

The splats are walked front to back like in the forward pass, so both make the very same decisions; what lies behind a
splat is the total minus what came before.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from halonerf.splatting.compiled import compiled
from halonerf.splatting.compositing import (
    AHEAD,
    CAP,
    COLOURS,
    HALF,
    ONE,
    PIXELS,
    ZERO,
    alpha_of,
    load_tile,
    open_tile,
    scattered,
    take,
)
from halonerf.splatting.lanes import LANES, above, choose, load, lowest_bit, prefetch, splat, store, total, totals
from halonerf.splatting.projection import SPLAT
from halonerf.splatting.tiles import TILE_H, TILE_W


@compiled(parallel=True)
def composite_backward(splats, starts, listed, splat_of, blocks_of, tiles_x, image, used, d_image, pairs, others):
    """Fill the listed rows of pairs [K * 16] and others [K, C - 3] with gradients; zero where a pair was not needed.

    With e the exponent and d = pixel - centre, a row of pairs has the sums over pixels of g, g dx, g dy, g dx^2,
    g dx dy, g dy^2 (g: gradient with respect to e), the gradient of the depth z, those of three features, and zeros.
    image: [H, W, C + 2], what `composite` made, C >= 3; d_image: the gradient with respect to it.
    """
    height, width, last = image.shape
    for k in prange(used.shape[0]):
        tile = scattered(k, used.shape[0])
        left, top = (tile % tiles_x) * TILE_W, (tile // tiles_x) * TILE_H
        px, py, light = open_tile(left, top, width, height)
        given, made = np.empty(last * PIXELS, np.float32), np.empty(last * PIXELS, np.float32)
        behind, extra = np.zeros(PIXELS, np.float32), np.empty(last * LANES, np.float32)
        load_tile(d_image, left, top, given)
        load_tile(image, left, top, made)
        for c in range(last):
            for p in range(PIXELS):
                behind[p] += given[c * PIXELS + p] * made[c * PIXELS + p]
        needed = starts[tile] + used[tile]
        for place in range(starts[tile], needed):
            pair, later = listed[place], listed[min(place + AHEAD, needed - 1)]
            prefetch(splats, splat_of[later] * splats.shape[1])
            prefetch(pairs, later * LANES)
            i, blocks = splat_of[pair], blocks_of[pair]
            sums = _differentiate_splat(splats, i, blocks, left, top, px, py, light, given, behind, extra, last - 2)
            store(pairs, pair * LANES, sums)
            for c in range(COLOURS, last - 2):
                others[pair, c - COLOURS] = total(load(extra, c * LANES))
        for place in range(needed, starts[tile + 1]):
            store(pairs, listed[place] * LANES, splat(ZERO))
            for c in range(COLOURS, last - 2):
                others[listed[place], c - COLOURS] = ZERO


@compiled()
def _differentiate_splat(splats, i, blocks, left, top, px, py, light, given, behind, extra, count):
    """One pair's gradients as a row of `pairs`; extra [C * LANES] holds the parts of those of further features.

    `behind` [PIXELS] is the gradient-weighted sum of all that follows.
    """
    u, v = splat(splats[i, 0] - np.float32(left)), splat(splats[i, 1] - np.float32(top))
    a, b, c = splat(HALF * splats[i, 2]), splat(splats[i, 3]), splat(HALF * splats[i, 4])
    opacity, fall, depth = splat(splats[i, 5]), splat(splats[i, 6]), splat(splats[i, 7])
    red, green, blue = splat(splats[i, SPLAT]), splat(splats[i, SPLAT + 1]), splat(splats[i, SPLAT + 2])
    none, one = splat(ZERO), splat(ONE)
    for k in range(COLOURS, count):
        store(extra, k * LANES, none)
    s, sx, sy, sxx, sxy, syy = none, none, none, none, none, none
    d_depth, d_red, d_green, d_blue = none, none, none, none
    while blocks != 0:
        p = lowest_bit(blocks) * LANES
        blocks &= blocks - 1
        dx, dy = load(px, p) - u, load(py, p) - v
        weight, alpha = take(light, p, alpha_of(a, b, c, opacity, fall, dx, dy))
        by_red, by_green, by_blue = load(given, p), load(given, PIXELS + p), load(given, 2 * PIXELS + p)
        by_depth = load(given, count * PIXELS + p)
        value = load(given, (count + 1) * PIXELS + p) + depth * by_depth
        value = value + red * by_red + green * by_green + blue * by_blue
        for k in range(COLOURS, count):
            by_feature = load(given, k * PIXELS + p)
            value = value + splat(splats[i, SPLAT + k]) * by_feature
            store(extra, k * LANES, load(extra, k * LANES) + weight * by_feature)
        d_depth = d_depth + weight * by_depth
        d_red, d_green, d_blue = d_red + weight * by_red, d_green + weight * by_green, d_blue + weight * by_blue
        contribution = weight * value
        rest = load(behind, p) - contribution
        store(behind, p, rest)
        g = rest * alpha / (one - alpha) - contribution
        g = choose(above(splat(CAP), alpha), g, none)
        gx, gy = g * dx, g * dy
        s, sx, sy = s + g, sx + gx, sy + gy
        sxx, sxy, syy = sxx + gx * dx, sxy + gx * dy, syy + gy * dy
    return totals(s, sx, sy, sxx, sxy, syy, d_depth, d_red, d_green, d_blue)
