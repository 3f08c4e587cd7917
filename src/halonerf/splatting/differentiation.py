"""Backward pass of compositing: from the gradient of an image to that of each pair of splat and tile.

Splats are visited front to back as in the forward pass, so that both make the same decisions; the sum behind a splat
is the total minus that in front of it.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from halonerf.splatting.compiled import compiled
from halonerf.splatting.compositing import (
    ALPHA_CAP,
    HALF,
    ONE,
    PIXELS,
    PREFETCH_SPLATS,
    REGISTER_FEATURES,
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
    """Fill pairs [K * 16] and others [K, C - 3] with the gradients of listed pairs; zero where a pair was not needed.

    With (dx, dy) = pixel - centre and p = dx - s dy (`halonerf.splatting.projection`), a row of pairs has the sums over
    pixels of g, g p, g dy, g p^2, g p dy, g dy^2 (g: gradient with respect to the exponent), the gradient of the depth
    z, those of three features, and zeros.
    image: [H, W, C + 2], the result of `composite`, C >= 3; d_image: the gradient with respect to it.
    """
    height, width, last = image.shape
    for k in prange(used.shape[0]):
        tile = scattered(k, used.shape[0])
        left, top = (tile % tiles_x) * TILE_W, (tile // tiles_x) * TILE_H
        px, py, light = open_tile(left, top, width, height)
        d_tile, tile_image = np.empty(last * PIXELS, np.float32), np.empty(last * PIXELS, np.float32)
        behind, extra = np.zeros(PIXELS, np.float32), np.empty(last * LANES, np.float32)
        load_tile(d_image, left, top, d_tile)
        load_tile(image, left, top, tile_image)
        for c in range(last):
            for p in range(PIXELS):
                behind[p] += d_tile[c * PIXELS + p] * tile_image[c * PIXELS + p]
        needed = starts[tile] + used[tile]
        for place in range(starts[tile], needed):
            pair, later = listed[place], listed[min(place + PREFETCH_SPLATS, needed - 1)]
            prefetch(splats, splat_of[later] * splats.shape[1])
            prefetch(pairs, later * LANES)
            i, blocks = splat_of[pair], blocks_of[pair]
            sums = _differentiate_splat(splats, i, blocks, left, top, px, py, light, d_tile, behind, extra, last - 2)
            store(pairs, pair * LANES, sums)
            for c in range(REGISTER_FEATURES, last - 2):
                others[pair, c - REGISTER_FEATURES] = total(load(extra, c * LANES))
        for place in range(needed, starts[tile + 1]):
            store(pairs, listed[place] * LANES, splat(ZERO))
            for c in range(REGISTER_FEATURES, last - 2):
                others[listed[place], c - REGISTER_FEATURES] = ZERO


@compiled()
def _differentiate_splat(splats, i, blocks, left, top, px, py, light, d_tile, behind, extra, count):
    """Gradients of one pair as a row of `pairs`; extra [C * LANES] receives those of further features, per lane.

    behind: [PIXELS], the gradient-weighted sum of this splat and all behind it; its share is subtracted.
    """
    u, v = splat(splats[i, 0] - np.float32(left)), splat(splats[i, 1] - np.float32(top))
    a, shear, e = splat(HALF * splats[i, 2]), splat(splats[i, 3]), splat(HALF * splats[i, 4])
    opacity, fall, depth = splat(splats[i, 5]), splat(splats[i, 6]), splat(splats[i, 7])
    red, green, blue = splat(splats[i, SPLAT]), splat(splats[i, SPLAT + 1]), splat(splats[i, SPLAT + 2])
    none, one = splat(ZERO), splat(ONE)
    for k in range(REGISTER_FEATURES, count):
        store(extra, k * LANES, none)
    s, sp, sy, spp, spy, syy = none, none, none, none, none, none
    d_depth, d_red, d_green, d_blue = none, none, none, none
    while blocks != 0:
        p = lowest_bit(blocks) * LANES
        blocks &= blocks - 1
        dy = load(py, p) - v
        dp = load(px, p) - u - shear * dy
        weight, alpha = take(light, p, alpha_of(a, e, opacity, fall, dp, dy))
        by_red, by_green, by_blue = load(d_tile, p), load(d_tile, PIXELS + p), load(d_tile, 2 * PIXELS + p)
        by_depth = load(d_tile, count * PIXELS + p)
        value = load(d_tile, (count + 1) * PIXELS + p) + depth * by_depth
        value = value + red * by_red + green * by_green + blue * by_blue
        for k in range(REGISTER_FEATURES, count):
            by_feature = load(d_tile, k * PIXELS + p)
            value = value + splat(splats[i, SPLAT + k]) * by_feature
            store(extra, k * LANES, load(extra, k * LANES) + weight * by_feature)
        d_depth = d_depth + weight * by_depth
        d_red, d_green, d_blue = d_red + weight * by_red, d_green + weight * by_green, d_blue + weight * by_blue
        contribution = weight * value
        rest = load(behind, p) - contribution
        store(behind, p, rest)
        g = rest * alpha / (one - alpha) - contribution
        g = choose(above(splat(ALPHA_CAP), alpha), g, none)
        gp, gy = g * dp, g * dy
        s, sp, sy = s + g, sp + gp, sy + gy
        spp, spy, syy = spp + gp * dp, spy + gp * dy, syy + gy * dy
    return totals(s, sp, sy, spp, spy, syy, d_depth, d_red, d_green, d_blue)
