"""The adjoint of compositing in the splats' features: what the pixels say about each splat, weighed by its share."""

from __future__ import annotations

import numpy as np
from numba import prange

from halonerf.splatting.compiled import compiled
from halonerf.splatting.compositing import (
    CHECK,
    HALF,
    PIXELS,
    ZERO,
    alpha_of,
    finished,
    load_tile,
    open_tile,
    scattered,
    take,
)
from halonerf.splatting.lanes import LANES, load, lowest_bit, splat, store, total
from halonerf.splatting.tiles import TILE_H, TILE_W


@compiled(parallel=True)
def gather_pairs(splats, starts, listed, splat_of, blocks_of, tiles_x, maps, pairs):
    """Fill the listed rows of pairs [K, C] with the sum over a pair's pixels of weight times maps [H, W, C]."""
    height, width, count = maps.shape
    for k in prange(starts.shape[0] - 1):
        tile = scattered(k, starts.shape[0] - 1)
        left, top = (tile % tiles_x) * TILE_W, (tile // tiles_x) * TILE_H
        px, py, light = open_tile(left, top, width, height)
        given, weight = np.empty(count * PIXELS, np.float32), np.empty(PIXELS, np.float32)
        load_tile(maps, left, top, given)
        begin, end = starts[tile], starts[tile + 1]
        done = False
        for place in range(begin, end):
            pair = listed[place]
            done = done or ((place - begin) % CHECK == 0 and finished(light))
            blocks = 0 if done else blocks_of[pair]
            _gather_splat(splats, splat_of[pair], blocks, left, top, px, py, light, given, weight, pairs, pair)


@compiled()
def _gather_splat(splats, i, blocks, left, top, px, py, light, given, weight, pairs, pair):
    """Fill a row of pairs [K, C] with the sums over a pair's pixels of its weight times given [C * PIXELS]."""
    u, v = splat(splats[i, 0] - np.float32(left)), splat(splats[i, 1] - np.float32(top))
    a, b, c = splat(HALF * splats[i, 2]), splat(splats[i, 3]), splat(HALF * splats[i, 4])
    opacity, fall, none = splat(splats[i, 5]), splat(splats[i, 6]), splat(ZERO)
    left_over = blocks
    while left_over != 0:
        p = lowest_bit(left_over) * LANES
        left_over &= left_over - 1
        drawn, _ = take(light, p, alpha_of(a, b, c, opacity, fall, load(px, p) - u, load(py, p) - v))
        store(weight, p, drawn)
    for k in range(pairs.shape[1]):
        summed = none
        left_over = blocks
        while left_over != 0:
            p = lowest_bit(left_over) * LANES
            left_over &= left_over - 1
            summed = summed + load(weight, p) * load(given, k * PIXELS + p)
        pairs[pair, k] = total(summed)


@compiled(parallel=True)
def reduce_pairs(order, spans, pairs, out):
    """Add the pairs [K, C] of each drawn splat, whose range is its row of spans [N, 2], to its row of out [N, C]."""
    for rank in prange(order.shape[0]):
        i = order[rank]
        for pair in range(spans[i, 0], spans[i, 1]):
            for c in range(pairs.shape[1]):
                out[i, c] += pairs[pair, c]
