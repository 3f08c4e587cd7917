"""The hot loops: tile after tile, splat after splat, 4 x 4 pixels at once (`halonerf.splatting.lanes`).

Inside a tile, pixels lie block after block, the sixteen of a block side by side; a splat is evaluated in the blocks
that its ellipse reaches. The backward pass walks the splats front to back like the forward pass, so both make the very
same decisions; what lies behind a splat is the total minus what came before.

`light` is what is left of a pixel's light; negative once the pixel is finished, when its size is what shines through.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from halonerf.splatting.compiled import compiled
from halonerf.splatting.constants import ALPHA_MAX, LIGHT_MIN
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
    totals,
)  # fmt: skip
from halonerf.splatting.projection import SPLAT
from halonerf.splatting.tiles import BLOCK, HALF_W, TILE_H, TILE_W

PIXELS = TILE_W * TILE_H
AHEAD = 4  # splats whose numbers are asked for before they are needed
CHECK = 8  # splats between two looks at whether a tile is finished
COLOURS = 3  # features that are kept in registers; any others go through memory

# exp(t) on [-0.70, 0], minimax in relative error (8e-8), degree 5; its eighth power covers [-5.6, 0] to 2e-6.
E0, E1, E2, E3, E4, E5 = (
    np.float32(value) for value in (0.99999992, 0.99999254, 0.49988259, 0.16597397, 0.03977256, 0.00584676)
)
CAP, DARK = np.float32(ALPHA_MAX), np.float32(LIGHT_MIN)
EIGHTH, HALF, ONE, ZERO = np.float32(-0.125), np.float32(0.5), np.float32(1.0), np.float32(0.0)


@compiled()
def fall_off(q):
    """exp(-q), lane by lane, for 0 <= q <= 5.6, within 2e-6 of its value."""
    t = q * splat(EIGHTH)
    e = splat(E0) + t * (splat(E1) + t * (splat(E2) + t * (splat(E3) + t * (splat(E4) + t * splat(E5)))))
    e = e * e
    e = e * e
    return e * e


@compiled()
def _alpha(a, b, c, opacity, fall, dx, dy):
    """What a splat stops of the light in sixteen pixels, [dx, dy] from its centre; zero outside its rim.

    The exponent is a dx^2 + b dx dy + c dy^2.
    """
    q = (a * dx + b * dy) * dx + c * dy * dy
    stopped = smaller(opacity * fall_off(smaller(larger(q, splat(ZERO)), fall)), splat(CAP))
    return choose(at_most(q, fall), stopped, splat(ZERO))


@compiled()
def _place(x, y):
    """Where a tile's pixel (x, y) is kept."""
    block = (x // HALF_W) * LANES + (y // BLOCK) * BLOCK + (x % HALF_W) // BLOCK
    return block * LANES + (y % BLOCK) * BLOCK + x % BLOCK


@compiled()
def _open_tile(left, top, width, height):
    """x and y of the centres of a tile's pixels, relative to the tile, and their light: 1 in the picture, 0 outside."""
    px, py, light = np.empty(PIXELS, np.float32), np.empty(PIXELS, np.float32), np.empty(PIXELS, np.float32)
    for y in range(TILE_H):
        for x in range(TILE_W):
            p = _place(x, y)
            px[p] = np.float32(x) + HALF
            py[p] = np.float32(y) + HALF
            light[p] = ONE if left + x < width and top + y < height else ZERO
    return px, py, light


@compiled()
def _finished(light):
    """Whether no pixel of a tile has light left."""
    most = load(light, 0)
    for p in range(LANES, PIXELS, LANES):
        most = larger(most, load(light, p))
    return total(larger(most, splat(ZERO))) <= ZERO


@compiled()
def _scattered(k, tiles):
    """The k-th tile to do: an even spread, so that every thread gets its share of the busy parts of a picture."""
    columns, k = 7, np.int64(k)  # a parallel loop's counter is unsigned, and unsigned with signed makes a float
    rows = np.int64(tiles) // columns
    return (k % rows) * columns + k // rows if k < rows * columns else k


@compiled()
def _load_tile(image, left, top, out):
    """Copy a tile of image [H, W, C] to out [C * PIXELS], channel by channel; zero outside the picture."""
    height, width, count = image.shape
    out[:] = ZERO
    for y in range(min(TILE_H, height - top)):
        for x in range(min(TILE_W, width - left)):
            p = _place(x, y)
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
        tile = _scattered(k, used.shape[0])
        left, top = (tile % tiles_x) * TILE_W, (tile // tiles_x) * TILE_H
        px, py, light = _open_tile(left, top, width, height)
        sums = np.zeros((count + 1) * PIXELS, np.float32)
        begin, end = starts[tile], starts[tile + 1]
        place = begin
        while place < end:
            if (place - begin) % CHECK == 0 and _finished(light):
                break
            pair = listed[place]
            prefetch(splats, splat_of[listed[min(place + AHEAD, end - 1)]] * splats.shape[1])
            _add_splat(splats, splat_of[pair], blocks_of[pair], left, top, px, py, light, sums, count)
            place += 1
        used[tile] = place - begin
        for y in range(min(TILE_H, height - top)):
            for x in range(min(TILE_W, width - left)):
                p = _place(x, y)
                for c in range(count + 1):
                    image[top + y, left + x, c] = sums[c * PIXELS + p]
                image[top + y, left + x, count + 1] = ONE - abs(light[p])


@compiled()
def _add_splat(splats, i, blocks, left, top, px, py, light, sums, count):
    """Add one splat to a tile's sums [(C + 1) * PIXELS] (features, depth) and take what it stops off the light."""
    u, v = splat(splats[i, 0] - np.float32(left)), splat(splats[i, 1] - np.float32(top))
    a, b, c = splat(HALF * splats[i, 2]), splat(splats[i, 3]), splat(HALF * splats[i, 4])
    opacity, fall, depth, none = splat(splats[i, 5]), splat(splats[i, 6]), splat(splats[i, 7]), splat(ZERO)
    red, green, blue = splat(splats[i, SPLAT]), splat(splats[i, SPLAT + 1]), splat(splats[i, SPLAT + 2])
    while blocks != 0:
        p = lowest_bit(blocks) * LANES
        blocks &= blocks - 1
        alpha = _alpha(a, b, c, opacity, fall, load(px, p) - u, load(py, p) - v)
        before = load(light, p)
        weight = before * alpha
        after = before - weight
        drawn = above(after, splat(DARK))
        store(light, p, choose(drawn, after, smaller(before, none - before)))
        weight = choose(drawn, weight, none)
        store(sums, p, load(sums, p) + weight * red)
        store(sums, PIXELS + p, load(sums, PIXELS + p) + weight * green)
        store(sums, 2 * PIXELS + p, load(sums, 2 * PIXELS + p) + weight * blue)
        for k in range(COLOURS, count):
            at = k * PIXELS + p
            store(sums, at, load(sums, at) + weight * splat(splats[i, SPLAT + k]))
        at = count * PIXELS + p
        store(sums, at, load(sums, at) + weight * depth)


@compiled(parallel=True)
def composite_backward(splats, starts, listed, splat_of, blocks_of, tiles_x, image, used, d_image, pairs, others):
    """Fill the listed rows of pairs [K * 16] and others [K, C - 3] with gradients; zero where a pair was not needed.

    With e the exponent and d = pixel - centre, a row of pairs has the sums over pixels of g, g dx, g dy, g dx^2,
    g dx dy, g dy^2 (g: gradient with respect to e), the gradient of the depth z, those of three features, and zeros.
    image: [H, W, C + 2], what `composite` made, C >= 3; d_image: the gradient with respect to it.
    """
    height, width, last = image.shape
    for k in prange(used.shape[0]):
        tile = _scattered(k, used.shape[0])
        left, top = (tile % tiles_x) * TILE_W, (tile // tiles_x) * TILE_H
        px, py, light = _open_tile(left, top, width, height)
        given, made = np.empty(last * PIXELS, np.float32), np.empty(last * PIXELS, np.float32)
        behind, extra = np.zeros(PIXELS, np.float32), np.empty(last * LANES, np.float32)
        _load_tile(d_image, left, top, given)
        _load_tile(image, left, top, made)
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
        alpha = _alpha(a, b, c, opacity, fall, dx, dy)
        before = load(light, p)
        weight = before * alpha
        after = before - weight
        drawn = above(after, splat(DARK))
        store(light, p, choose(drawn, after, smaller(before, none - before)))
        weight = choose(drawn, weight, none)
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
        g = choose(above(splat(CAP), alpha), choose(drawn, g, none), none)
        gx, gy = g * dx, g * dy
        s, sx, sy = s + g, sx + gx, sy + gy
        sxx, sxy, syy = sxx + gx * dx, sxy + gx * dy, syy + gy * dy
    return totals(s, sx, sy, sxx, sxy, syy, d_depth, d_red, d_green, d_blue)


@compiled(parallel=True)
def gather(splats, starts, listed, splat_of, blocks_of, tiles_x, maps, pairs):
    """Fill the listed rows of pairs [K, C] with the sum over a pair's pixels of weight times maps [H, W, C]."""
    height, width, count = maps.shape
    for k in prange(starts.shape[0] - 1):
        tile = _scattered(k, starts.shape[0] - 1)
        left, top = (tile % tiles_x) * TILE_W, (tile // tiles_x) * TILE_H
        px, py, light = _open_tile(left, top, width, height)
        given, weight = np.empty(count * PIXELS, np.float32), np.empty(PIXELS, np.float32)
        _load_tile(maps, left, top, given)
        begin, end = starts[tile], starts[tile + 1]
        finished = False
        for place in range(begin, end):
            pair = listed[place]
            finished = finished or ((place - begin) % CHECK == 0 and _finished(light))
            blocks = 0 if finished else blocks_of[pair]
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
        before = load(light, p)
        stopped = before * _alpha(a, b, c, opacity, fall, load(px, p) - u, load(py, p) - v)
        after = before - stopped
        drawn = above(after, splat(DARK))
        store(light, p, choose(drawn, after, smaller(before, none - before)))
        store(weight, p, choose(drawn, stopped, none))
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
