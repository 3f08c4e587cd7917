"""Pairs of splats and the tiles of the image that they reach, listed by tile in order of depth.

A pair is one splat in one tile of 32 x 16 px, with a mask of the tile's 4 x 4 px blocks that the splat's ellipse
reaches. Pairs are numbered splat by splat in order of depth, so that a splat's pairs are a range; each tile lists its
pairs. Every gradient is then the sum of a range: no atomics, and the same result with any number of threads.
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from halonerf.splatting.compiled import compiled
from halonerf.splatting.lanes import LANES, at_most, bits, larger, load, prefetch, root, smaller, splat

BLOCK = 4  # px; a block of 4 x 4 pixels is one vector, a half tile of 4 x 4 blocks is one as well
HALF_W = BLOCK * BLOCK
TILE_W, TILE_H = 2 * HALF_W, BLOCK * BLOCK  # px
SLACK = np.float32(1e-3)  # px by which an ellipse is widened before rounding: a pixel too many has no effect
SMALL = np.float32(1e-30)  # px^-2, far below any splat's
HALF, ZERO, ONE, TWO = np.float32(0.5), np.float32(0.0), np.float32(1.0), np.float32(2.0)
PREFETCH_SPLATS = 8  # distance of prefetched splats
PARTS = 64  # that the splats are divided into for the threads


@compiled(parallel=True)
def count_tiles(splats, order, tiles_x, tiles_y, counts):
    """Fill counts [M] with upper bounds of the number of tiles that each drawn splat reaches, in order of depth.

    splats: [N, 10 + ...]. order: [M], indices of the drawn splats in order of depth.
    """
    for rank in prange(order.shape[0]):
        i = order[rank]
        top, bottom = _span(splats[i, 1], splats[i, 9], TILE_H, tiles_y)
        left, right = _span(splats[i, 0], splats[i, 8], TILE_W, tiles_x)
        counts[rank] = (bottom - top) * (right - left)


@compiled()
def _span(centre, radius, size, number):
    """First and last + 1 of `number` tiles of `size` px that hold a pixel centre within `radius` of `centre`."""
    scale = ONE / np.float32(size)
    first = max(np.int64(math.floor((centre - radius - HALF - SLACK) * scale)), 0)
    last = min(np.int64(math.floor((centre + radius - HALF + SLACK) * scale)) + 1, number)
    return first, max(first, last)


@compiled()
def _half_tile():
    """Smallest and largest x, then y, of the pixel centres in each of a half tile's blocks, [4 * LANES], px."""
    reach = np.empty(4 * LANES, np.float32)
    for block in range(LANES):
        for axis, place in enumerate((block % BLOCK, block // BLOCK)):
            reach[(2 * axis) * LANES + block] = np.float32(place * BLOCK) + HALF - SLACK
            reach[(2 * axis + 1) * LANES + block] = np.float32((place + 1) * BLOCK) - HALF + SLACK
    return reach


@compiled(parallel=True)
def list_pairs(splats, order, tiles_x, tiles_y, offsets, spans, tile_of, splat_of, blocks_of):
    """Fill each pair's tile, splat and mask of blocks, and spans [N, 2]: start and end of a splat's pairs.

    offsets: [M + 1], their starts, in order of depth; from a splat's end to the next one's start only a tile of -1 is
    written. A tile has two halves of sixteen blocks; bit 16 half + 4 row + column is set where the ellipse reaches a
    block. In the rows of a block the ellipse reaches farthest right at its rightmost point or, if that lies outside
    them, at the nearest row.
    """
    number = order.shape[0]
    for chunk in prange(PARTS):
        reach, part = _half_tile(), np.int64(chunk)
        for rank in range(part * number // PARTS, (part + 1) * number // PARTS):
            i, later = order[rank], order[min(rank + PREFETCH_SPLATS, number - 1)]
            prefetch(splats, later * splats.shape[1])
            u, v, rx, ry = splats[i, 0], splats[i, 1], splats[i, 8], splats[i, 9]
            a, s, e, fall = splats[i, 2], splats[i, 3], splats[i, 4], splats[i, 6]
            inverse, slope, across = splat(ONE / max(a, SMALL)), splat(s), splat(e)
            whole, steep = splat(TWO * fall), s / e * math.sqrt(TWO * fall * a * (e / (e + a * s * s)))
            pair = offsets[rank]
            top, bottom = _span(v, ry, TILE_H, tiles_y)
            first, last = _span(u, rx, TILE_W, tiles_x)
            for row in range(top, bottom):
                y = splat(np.float32(row * TILE_H) - v)
                low, high = load(reach, 2 * LANES) + y, load(reach, 3 * LANES) + y
                at = smaller(larger(splat(steep), low), high)
                right = slope * at + root(larger(whole - at * at * across, splat(ZERO)) * inverse)
                at = smaller(larger(splat(-steep), low), high)
                left = slope * at - root(larger(whole - at * at * across, splat(ZERO)) * inverse)
                inside = bits(at_most(low, splat(ry))) & bits(at_most(splat(-ry), high))
                for column in range(first, last):
                    blocks = np.int64(0)
                    for half in range(2):
                        x = splat(np.float32(column * TILE_W + half * HALF_W) - u)
                        hit = bits(at_most(load(reach, 0) + x, right)) & bits(at_most(left, load(reach, LANES) + x))
                        blocks |= (hit & inside) << (LANES * half)
                    tile_of[pair] = row * tiles_x + column
                    splat_of[pair] = i
                    blocks_of[pair] = blocks
                    pair += blocks != 0
            spans[i, 0] = offsets[rank]
            spans[i, 1] = pair
            for gap in range(pair, offsets[rank + 1]):
                tile_of[gap] = -1


@compiled()
def sort_pairs(tile_of, starts, listed):
    """Counting sort: fill starts [tiles + 1] and listed, each tile's pairs in order of depth; gaps are left out."""
    starts[:] = 0
    for pair in range(tile_of.shape[0]):
        if tile_of[pair] >= 0:
            starts[tile_of[pair] + 1] += 1
    for tile in range(starts.shape[0] - 1):
        starts[tile + 1] += starts[tile]
    cursor = starts[:-1].copy()
    for pair in range(tile_of.shape[0]):
        tile = tile_of[pair]
        if tile >= 0:
            listed[cursor[tile]] = pair
            cursor[tile] += 1
