"""The hot loops: tile after tile, splat after splat, all pixels of a tile at once in vector instructions.

Inside a tile, pixels are rows of `TILE_W` laid end to end. The backward pass walks the splats front to back like the
forward pass, so both make the very same decisions; what lies behind a splat is the total minus what came before.
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from halonerf.splatting.compiled import compiled
from halonerf.splatting.constants import ALPHA_MAX, LIGHT_MIN
from halonerf.splatting.tiles import TILE_H, TILE_W

PIXELS = TILE_W * TILE_H
CHECK = 8  # splats between two looks at whether a tile is finished

# exp(t) on [-0.70, 0], minimax in relative error (8e-8), degree 5; its eighth power covers [-5.6, 0] to 2e-6.
E0, E1, E2, E3, E4, E5 = (
    np.float32(value) for value in (0.99999992, 0.99999254, 0.49988259, 0.16597397, 0.03977256, 0.00584676)
)
CAP = np.float32(ALPHA_MAX)
DARK = np.float32(LIGHT_MIN)
HALF, ONE, ZERO = np.float32(0.5), np.float32(1.0), np.float32(0.0)


@compiled()
def fall_off(q):
    """exp(-q) for 0 <= q <= 5.6, within 2e-6 of its value."""
    t = q * np.float32(-0.125)
    e = E0 + t * (E1 + t * (E2 + t * (E3 + t * (E4 + t * E5))))
    e = e * e
    e = e * e
    return e * e


@compiled()
def _pixels(v, ry):
    """The range of a tile's pixels whose rows the splat reaches; v: its centre below the tile's top."""
    first = max(math.floor(v - ry), 0)
    last = min(math.floor(v + ry) + 1, TILE_H)
    return first * TILE_W, max(last, first) * TILE_W


@compiled()
def _weigh(splat, u, v, start, stop, px, py, light, alpha, weight):
    """Fill alpha and weight over [start, stop) and take the weight off the light."""
    a, b, c, opacity, fall = splat[2] * HALF, splat[3], splat[4] * HALF, splat[5], splat[6]
    px, py, light, alpha, weight = (
        px[start:stop],
        py[start:stop],
        light[start:stop],
        alpha[start:stop],
        weight[start:stop],
    )
    for p in range(px.shape[0]):
        dx = px[p] - u
        dy = py[p] - v
        q = a * dx * dx + c * dy * dy + b * dx * dy
        stopped = min(opacity * fall_off(min(max(q, ZERO), fall)), CAP)
        stopped = stopped if (q <= fall) & (light[p] >= DARK) else ZERO
        alpha[p] = stopped
        weight[p] = stopped * light[p]
        light[p] -= weight[p]


@compiled()
def _open_tile(tile, tiles_x, width, height, px, py, light):
    """Fill the pixels' centres, relative to the tile, and their light: 1 inside the picture, 0 outside."""
    left, top = (tile % tiles_x) * TILE_W, (tile // tiles_x) * TILE_H
    for p in range(PIXELS):
        x, y = p % TILE_W, p // TILE_W
        px[p] = np.float32(x) + HALF
        py[p] = np.float32(y) + HALF
        light[p] = ONE if left + x < width and top + y < height else ZERO
    return left, top


@compiled()
def _finished(light):
    """Whether no pixel of a tile has light left."""
    most = ZERO
    for p in range(PIXELS):
        most = max(most, light[p])
    return most < DARK


@compiled()
def _load(image, left, top, out):
    """Copy a tile of image [H, W, C] to out [C, PIXELS]; zero outside the picture."""
    height, width, count = image.shape
    for y in range(TILE_H):
        for x in range(TILE_W):
            inside = top + y < height and left + x < width
            for c in range(count):
                out[c, y * TILE_W + x] = image[top + y, left + x, c] if inside else ZERO


@compiled(parallel=True)
def composite(splats, extents, order, features, starts, listed, rank_of, tiles_x, image, used):
    """Fill image [H, W, C + 2] (features, depth times opacity, opacity) and used [tiles], the pairs each tile needed.

    features: [N, C], by Gaussian. starts, listed, rank_of: as `halonerf.splatting.tiles` makes them.
    """
    height, width, last = image.shape
    count = last - 2
    for tile in prange(used.shape[0]):
        px, py, light = np.empty(PIXELS, np.float32), np.empty(PIXELS, np.float32), np.empty(PIXELS, np.float32)
        alpha, weight = np.empty(PIXELS, np.float32), np.empty(PIXELS, np.float32)
        sums = np.zeros((count + 1, PIXELS), np.float32)
        left, top = _open_tile(tile, tiles_x, width, height, px, py, light)
        begin, end = starts[tile], starts[tile + 1]
        place = begin
        while place < end:
            if (place - begin) % CHECK == 0 and _finished(light):
                break
            i = order[rank_of[listed[place]]]
            splat = splats[i]
            u, v = splat[0] - np.float32(left), splat[1] - np.float32(top)
            start, stop = _pixels(v, extents[i, 1])
            _weigh(splat, u, v, start, stop, px, py, light, alpha, weight)
            for c in range(count):
                _add(sums[c], weight, start, stop, features[i, c])
            _add(sums[count], weight, start, stop, splat[7])
            place += 1
        used[tile] = place - begin
        for y in range(min(TILE_H, height - top)):
            for x in range(min(TILE_W, width - left)):
                p = y * TILE_W + x
                for c in range(count + 1):
                    image[top + y, left + x, c] = sums[c, p]
                image[top + y, left + x, count + 1] = ONE - light[p]


@compiled()
def _add(total, weight, start, stop, factor):
    """total += weight * factor over [start, stop)."""
    total, weight = total[start:stop], weight[start:stop]
    for p in range(total.shape[0]):
        total[p] += weight[p] * factor


@compiled()
def _dot(one, other, start, stop):
    """Sum of one * other over [start, stop)."""
    one, other = one[start:stop], other[start:stop]
    total = ZERO
    for p in range(one.shape[0]):
        total += one[p] * other[p]
    return total


@compiled(parallel=True)
def composite_backward(
    splats, extents, order, features, starts, listed, rank_of, tiles_x, image, used, d_image, pairs
):  # fmt: skip
    """Fill pairs [K, 7 + C] with each pair's part of the gradient; columns of pairs that were not needed stay as given.

    With e the exponent and d = pixel - centre, the columns are the sums over pixels of g, g dx, g dy, g dx^2,
    g dx dy, g dy^2 (g: gradient with respect to e), the gradient of the depth z, and those of the features.
    image: [H, W, C + 2], what `composite` made; d_image: the gradient with respect to it.
    """
    height, width, last = image.shape
    count = last - 2
    for tile in prange(used.shape[0]):
        px, py, light = np.empty(PIXELS, np.float32), np.empty(PIXELS, np.float32), np.empty(PIXELS, np.float32)
        alpha, weight = np.empty(PIXELS, np.float32), np.empty(PIXELS, np.float32)
        value = np.empty(PIXELS, np.float32)
        given, made = np.empty((last, PIXELS), np.float32), np.empty((last, PIXELS), np.float32)
        behind = np.zeros(PIXELS, np.float32)
        left, top = _open_tile(tile, tiles_x, width, height, px, py, light)
        _load(d_image, left, top, given)
        _load(image, left, top, made)
        for c in range(last):
            for p in range(PIXELS):
                behind[p] += given[c, p] * made[c, p]
        for place in range(starts[tile], starts[tile] + used[tile]):
            pair = listed[place]
            i = order[rank_of[pair]]
            splat, out = splats[i], pairs[pair]
            u, v = splat[0] - np.float32(left), splat[1] - np.float32(top)
            start, stop = _pixels(v, extents[i, 1])
            _weigh(splat, u, v, start, stop, px, py, light, alpha, weight)
            value[start:stop] = given[count + 1, start:stop]
            for c in range(count):
                _add(value, given[c], start, stop, features[i, c])
                out[7 + c] = _dot(weight, given[c], start, stop)
            _add(value, given[count], start, stop, splat[7])
            out[6] = _dot(weight, given[count], start, stop)
            _through_alpha(u, v, start, stop, px, py, light, alpha, weight, value, behind, out)


@compiled()
def _through_alpha(u, v, start, stop, px, py, light, alpha, weight, value, behind, out):
    """Fill out[:6]; takes this splat's share off `behind`, the gradient-weighted colour of all that follows."""
    px, py, light, alpha = px[start:stop], py[start:stop], light[start:stop], alpha[start:stop]
    weight, value, behind = weight[start:stop], value[start:stop], behind[start:stop]
    # The slope of the exponent goes to `value`, so that each loop writes one array.
    for p in range(px.shape[0]):
        behind[p] -= weight[p] * value[p]
    for p in range(px.shape[0]):
        open_light = light[p] + weight[p]
        slope = behind[p] * alpha[p] / (ONE - alpha[p]) - open_light * alpha[p] * value[p]
        value[p] = slope if alpha[p] < CAP else ZERO
    s, sx, sy, sxx, sxy, syy = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
    for p in range(px.shape[0]):
        g = value[p]
        dx, dy = px[p] - u, py[p] - v
        gx, gy = g * dx, g * dy
        s += g
        sx += gx
        sy += gy
        sxx += gx * dx
        sxy += gx * dy
        syy += gy * dy
    out[0], out[1], out[2], out[3], out[4], out[5] = s, sx, sy, sxx, sxy, syy


@compiled(parallel=True)
def gather(splats, extents, order, starts, listed, rank_of, tiles_x, maps, pairs):
    """Fill pairs [K, C] with the sum over a pair's pixels of weight times maps [H, W, C]."""
    height, width, count = maps.shape
    for tile in prange(starts.shape[0] - 1):
        px, py, light = np.empty(PIXELS, np.float32), np.empty(PIXELS, np.float32), np.empty(PIXELS, np.float32)
        alpha, weight = np.empty(PIXELS, np.float32), np.empty(PIXELS, np.float32)
        given = np.empty((count, PIXELS), np.float32)
        left, top = _open_tile(tile, tiles_x, width, height, px, py, light)
        _load(maps, left, top, given)
        begin, end = starts[tile], starts[tile + 1]
        for place in range(begin, end):
            if (place - begin) % CHECK == 0 and _finished(light):
                break
            pair = listed[place]
            i = order[rank_of[pair]]
            splat = splats[i]
            u, v = splat[0] - np.float32(left), splat[1] - np.float32(top)
            start, stop = _pixels(v, extents[i, 1])
            _weigh(splat, u, v, start, stop, px, py, light, alpha, weight)
            for c in range(count):
                pairs[pair, c] = _dot(weight, given[c], start, stop)


@compiled(parallel=True)
def reduce_pairs(order, offsets, pairs, out):
    """Add each splat's range of pairs [K, C] to its Gaussian's row of out [N, C]."""
    for rank in prange(order.shape[0]):
        row = out[order[rank]]
        for pair in range(offsets[rank], offsets[rank + 1]):
            for c in range(pairs.shape[1]):
                row[c] += pairs[pair, c]
