"""Which splats touch which tile of the image, nearest first.

A pair is one splat in one tile. Pairs are numbered splat by splat in order of depth, so that a splat's pairs are a
range; tiles list the pairs that touch them. That makes every gradient the sum of a range: no atomics, and the same
result whatever the number of threads.
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from halonerf.splatting.compiled import compiled

TILE_W = 16  # px; one AVX-512 register of float32, two of AVX2
TILE_H = 16  # px; 32 is a tenth faster but leaves fewer tiles to share among cores


@compiled()
def _columns(splat, rx, top, bottom, tiles_x):
    """First and last + 1 tile whose columns the splat's ellipse reaches between the heights `top` and `bottom`."""
    u, v, a, b, c, fall = splat[0], splat[1], splat[2], splat[3], splat[4], splat[6]
    low, high = top - v, bottom - v
    steep = b / c * rx  # the rightmost point lies at dy = -steep, the leftmost at +steep
    right = rx
    at = min(max(-steep, low), high)
    if at != -steep:
        right = (-b * at + math.sqrt(max(b * b * at * at - a * (c * at * at - np.float32(2.0) * fall), 0.0))) / a
    left = -rx
    at = min(max(steep, low), high)
    if at != steep:
        left = (-b * at - math.sqrt(max(b * b * at * at - a * (c * at * at - np.float32(2.0) * fall), 0.0))) / a
    first = math.floor((u + left) / TILE_W)
    last = math.floor((u + right) / TILE_W) + 1
    return max(first, 0), min(last, tiles_x)


@compiled()
def _rows(splat, ry, tiles_y):
    """First and last + 1 tile row that the splat reaches."""
    first = math.floor((splat[1] - ry) / TILE_H)
    last = math.floor((splat[1] + ry) / TILE_H) + 1
    return max(first, 0), min(last, tiles_y)


@compiled(parallel=True)
def count_pairs(splats, extents, order, tiles_x, tiles_y, counts):
    """Fill counts [M] with the number of tiles that each splat, in order of depth, touches."""
    for rank in prange(order.shape[0]):
        i = order[rank]
        first, last = _rows(splats[i], extents[i, 1], tiles_y)
        count = 0
        for row in range(first, last):
            left, right = _columns(
                splats[i], extents[i, 0], np.float32(row * TILE_H), np.float32((row + 1) * TILE_H), tiles_x
            )
            count += max(right - left, 0)
        counts[rank] = count


@compiled(parallel=True)
def list_pairs(splats, extents, order, tiles_x, tiles_y, offsets, tile_of, rank_of):
    """Fill tile_of and rank_of [K]: the tile and the sorted splat of each pair."""
    for rank in prange(order.shape[0]):
        i = order[rank]
        first, last = _rows(splats[i], extents[i, 1], tiles_y)
        pair = offsets[rank]
        for row in range(first, last):
            left, right = _columns(
                splats[i], extents[i, 0], np.float32(row * TILE_H), np.float32((row + 1) * TILE_H), tiles_x
            )
            for column in range(left, right):
                tile_of[pair] = row * tiles_x + column
                rank_of[pair] = rank
                pair += 1


@compiled()
def sort_pairs(tile_of, starts, listed):
    """Counting sort: fill starts [tiles + 1] and listed [K], each tile's pairs in order of depth."""
    starts[:] = 0
    for pair in range(tile_of.shape[0]):
        starts[tile_of[pair] + 1] += 1
    for tile in range(starts.shape[0] - 1):
        starts[tile + 1] += starts[tile]
    cursor = starts[:-1].copy()
    for pair in range(tile_of.shape[0]):
        tile = tile_of[pair]
        listed[cursor[tile]] = pair
        cursor[tile] += 1
