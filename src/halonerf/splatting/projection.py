"""Projection of 3D Gaussians to splats on the image, and its backward pass (EWA splatting, Zwicker et al. 2001).

A splat is a row of numbers, one row per Gaussian: centre u, v (px); a, s, e of its exponent; opacity; the largest
exponent `fall` at which it is still drawn; depth z along the optical axis (world units); half-widths rx, ry (px; rx
negative: not in the image); then its features.

The exponent at an offset (dx, dy) from the centre is (a (dx - s dy)^2 + e dy^2) / 2, with e = 1 / yy and s = xy / yy of
the covariance [[xx, xy], [xy, yy]] and 1 / a = xx - xy^2 / yy. In the entries of the inverse covariance it would be a
difference of two large numbers for what is long and thin; here both terms are squares. For the same reason 1 / a comes
from the minors of the covariance's factors (Cauchy and Binet), and all that is done once per Gaussian is done in double
precision: it costs little beside the pixels.

The camera is 22 numbers: world-to-camera rotation (9, row by row) and translation (3), fx, fy, cx, cy, width, height,
and the limits of x / z (2) and y / z (2) between which the projection is linearised.

Everything about one Gaussian is kept in scalars and tuples: an array made inside a loop would cost more than its sums.
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from halonerf.splatting.compiled import compiled
from halonerf.splatting.constants import ALPHA_MIN, BLUR, NEAR
from halonerf.splatting.lanes import LANES, load, prefetch, splat, store

SPLAT = 10  # numbers before a splat's features
PREFETCH_SPLATS = 8  # distance of prefetched Gaussians
MAX_RADIUS = 1e9  # px; tiles are counted in whole numbers
PARTS = 64  # that the Gaussians are divided into for the threads
ZERO, ONE, TWO = 0.0, 1.0, 2.0
MIN_DEPTH, MIN_ALPHA = np.float32(NEAR), np.float32(ALPHA_MIN)


@compiled()
def _doubles(values, i):
    """The first three numbers of row i in double precision."""
    return np.float64(values[i, 0]), np.float64(values[i, 1]), np.float64(values[i, 2])


@compiled()
def _unit(rotations, i):
    """The i-th quaternion wxyz as a tuple of length one, and the inverse of its length."""
    w, x, y = _doubles(rotations, i)
    z = np.float64(rotations[i, 3])
    inverse = ONE / math.sqrt(w * w + x * x + y * y + z * z)
    return w * inverse, x * inverse, y * inverse, z * inverse, inverse


@compiled()
def _columns(w, x, y, z):
    """The three columns of the rotation matrix of a unit quaternion: the Gaussian's axes."""
    first = (ONE - TWO * (y * y + z * z), TWO * (x * y + w * z), TWO * (x * z - w * y))
    second = (TWO * (x * y - w * z), ONE - TWO * (x * x + z * z), TWO * (y * z + w * x))
    third = (TWO * (x * z + w * y), TWO * (y * z - w * x), ONE - TWO * (x * x + y * y))
    return first, second, third


@compiled()
def _dot(one, other):
    return one[0] * other[0] + one[1] * other[1] + one[2] * other[2]


@compiled()
def _place(means, i, camera):
    """The i-th point in the camera's frame."""
    p, q, r = _doubles(means, i)
    x = camera[0] * p + camera[1] * q + camera[2] * r + camera[9]
    y = camera[3] * p + camera[4] * q + camera[5] * r + camera[10]
    z = camera[6] * p + camera[7] * q + camera[8] * r + camera[11]
    return x, y, z


@compiled()
def _linearised(camera, x, y, z):
    """The two rows of J W, d pixel / d world point, and the slopes x / z and y / z at which they are taken."""
    sx = min(max(x / z, camera[18]), camera[19])
    sy = min(max(y / z, camera[20]), camera[21])
    px, py = camera[12] / z, camera[13] / z
    across = (
        px * (camera[0] - sx * camera[6]), px * (camera[1] - sx * camera[7]), px * (camera[2] - sx * camera[8]),
    )  # fmt: skip
    down = (
        py * (camera[3] - sy * camera[6]), py * (camera[4] - sy * camera[7]), py * (camera[5] - sy * camera[8]),
    )  # fmt: skip
    return across, down, sx, sy


@compiled()
def _factors(across, down, columns, scales):
    """A Gaussian's axes on the image, px: x [3] and y [3], the factors of its covariance; and the minors of the two."""
    first, second, third = columns
    x = (_dot(across, first) * scales[0], _dot(across, second) * scales[1], _dot(across, third) * scales[2])
    y = (_dot(down, first) * scales[0], _dot(down, second) * scales[1], _dot(down, third) * scales[2])
    return x, y, (x[0] * y[1] - x[1] * y[0], x[0] * y[2] - x[2] * y[0], x[1] * y[2] - x[2] * y[1])


@compiled(parallel=True)
def project(means, scales, rotations, opacities, offsets, camera, features, splats):
    """Fill splats [N, 10 + C or more]; for Gaussians outside the image only the negative half-width.

    means, scales: [N, 3], world units. rotations: [N, 4], wxyz, of any length. opacities: [N]. offsets: [N, 2], px,
    added to the centres. camera: [22]. features: [N, C].
    """
    for i in prange(means.shape[0]):
        splats[i, 8] = -ONE
        x, y, z = _place(means, i, camera)
        opacity = np.float64(opacities[i])
        if not (z > MIN_DEPTH) or not (opacity > MIN_ALPHA):
            continue
        w, qx, qy, qz, _ = _unit(rotations, i)
        across, down, _, _ = _linearised(camera, x, y, z)
        ax, ay, minors = _factors(across, down, _columns(w, qx, qy, qz), _doubles(scales, i))
        xx, yy, xy = _dot(ax, ax), _dot(ay, ay), _dot(ax, ay)
        determinant = _dot(minors, minors) + BLUR * (xx + yy) + BLUR * BLUR
        xx, yy = xx + BLUR, yy + BLUR
        u = camera[12] * x / z + camera[14] + offsets[i, 0]
        v = camera[13] * y / z + camera[15] + offsets[i, 1]
        fall = math.log(opacity / ALPHA_MIN)
        rx, ry = math.sqrt(TWO * fall * xx), math.sqrt(TWO * fall * yy)
        if not (u + rx > 0 and v + ry > 0 and u - rx < camera[16] and v - ry < camera[17]):
            continue
        splats[i, 0] = u
        splats[i, 1] = v
        splats[i, 2] = yy / determinant
        splats[i, 3] = xy / yy
        splats[i, 4] = ONE / yy
        splats[i, 5] = opacity
        splats[i, 6] = fall
        splats[i, 7] = z
        splats[i, 8] = min(rx, MAX_RADIUS)
        splats[i, 9] = min(ry, MAX_RADIUS)
        for k in range(features.shape[1]):
            splats[i, SPLAT + k] = features[i, k]


@compiled(parallel=True)
def project_backward(
    means, scales, rotations, camera, splats, spans, pairs, others,
    d_means, d_scales, d_rotations, d_opacities, d_centres, d_features,
):  # fmt: skip
    """Sum the gradients of each drawn Gaussian's pairs and propagate them through `project`; fill all d_... arrays.

    splats: as `project` filled them. spans: [N, 2], start and end of a drawn Gaussian's pairs. pairs: [K * 16],
    others: [K, C - 3], as `composite_backward` writes them.
    """
    number = means.shape[0]
    for chunk in prange(PARTS):
        summed, part = np.empty(LANES, np.float32), np.int64(chunk)
        for i in range(part * number // PARTS, (part + 1) * number // PARTS):
            if splats[i, 8] > 0:
                later = min(i + PREFETCH_SPLATS, number - 1)
                if splats[later, 8] > 0:
                    prefetch(pairs, spans[later, 0] * LANES)
                _sum_pairs(spans[i, 0], spans[i, 1], pairs, others, summed, d_features, i)
                _project_backward(
                    means, scales, rotations, camera, i, splats, summed,
                    d_means, d_scales, d_rotations, d_opacities, d_centres,
                )  # fmt: skip
            else:
                d_opacities[i] = ZERO
                for k in range(d_features.shape[1]):
                    d_features[i, k] = ZERO
                for k in range(2):
                    d_centres[i, k] = ZERO
                for k in range(3):
                    d_means[i, k] = ZERO
                    d_scales[i, k] = ZERO
                for k in range(4):
                    d_rotations[i, k] = ZERO


@compiled()
def _sum_pairs(first, last, pairs, others, summed, d_features, i):
    """Fill summed [16] and row i of d_features with a splat's sums over its pairs."""
    sums = splat(ZERO)
    for k in range(others.shape[1]):
        d_features[i, 3 + k] = ZERO
    for pair in range(first, last):
        sums = sums + load(pairs, pair * LANES)
        for k in range(others.shape[1]):
            d_features[i, 3 + k] += others[pair, k]
    store(summed, 0, sums)
    for k in range(min(3, d_features.shape[1])):
        d_features[i, k] = summed[7 + k]


@compiled()
def _project_backward(
    means, scales, rotations, camera, i, splats, summed, d_means, d_scales, d_rotations, d_opacities, d_centres
):  # fmt: skip
    """Backward pass of one Gaussian; summed: the gradients of its splat."""
    a, s, e = np.float64(splats[i, 2]), np.float64(splats[i, 3]), np.float64(splats[i, 4])
    d_opacities[i] = -summed[0] / splats[i, 5]
    du, dv = -a * summed[1], a * s * summed[1] - e * summed[2]
    d_centres[i, 0] = du
    d_centres[i, 1] = dv

    x, y, z = _place(means, i, camera)
    w, qx, qy, qz, short = _unit(rotations, i)
    first, second, third = _columns(w, qx, qy, qz)
    across, down, sx, sy = _linearised(camera, x, y, z)
    scale = _doubles(scales, i)
    ax, ay, minors = _factors(across, down, (first, second, third), scale)
    # What changes the exponent is (tx, ay): the axes on the image, sheared by s so that their covariance is diagonal.
    # tx = ax - s ay without the difference of large numbers.
    tx = (
        e * (ay[1] * minors[0] + ay[2] * minors[1] + BLUR * ax[0]),
        e * (ay[2] * minors[2] - ay[0] * minors[0] + BLUR * ax[1]),
        e * (BLUR * ax[2] - ay[0] * minors[1] - ay[1] * minors[2]),
    )
    # d exponent / d (a, s, e) are half of the sums of p^2, -a times that of p dy, and half of that of dy^2;
    # d (1 / a), ds, de are quadratic in (tx, ay), by these factors:
    gtt, gty, gyy = -a * a * summed[3], -e * a * summed[4], -e * e * summed[5]
    sheared = (across[0] - s * down[0], across[1] - s * down[1], across[2] - s * down[2])
    e0, l0, m0, d_first = _axis_backward(sheared, down, first, scale[0], tx[0], ay[0], gtt, gty, gyy)
    e1, l1, m1, d_second = _axis_backward(sheared, down, second, scale[1], tx[1], ay[1], gtt, gty, gyy)
    e2, l2, m2, d_third = _axis_backward(sheared, down, third, scale[2], tx[2], ay[2], gtt, gty, gyy)
    d_scales[i, 0] = e0
    d_scales[i, 1] = e1
    d_scales[i, 2] = e2
    m0, m1, m2 = m0 - s * l0, m1 - s * l1, m2 - s * l2
    # d across = sum over axes of l * axis; d down likewise with m
    cx = l0 * first[0] + l1 * second[0] + l2 * third[0]
    cy = l0 * first[1] + l1 * second[1] + l2 * third[1]
    cz = l0 * first[2] + l1 * second[2] + l2 * third[2]
    bx = m0 * first[0] + m1 * second[0] + m2 * third[0]
    by = m0 * first[1] + m1 * second[1] + m2 * third[1]
    bz = m0 * first[2] + m1 * second[2] + m2 * third[2]

    fx, fy, near = camera[12], camera[13], ONE / z
    dx, dy = du * fx * near, dv * fy * near
    dz = summed[6] - (du * fx * x + dv * fy * y) * near * near
    dz -= (e0 * scale[0] + e1 * scale[1] + e2 * scale[2]) * near  # the image grows as 1 / z, as it does with the scales
    d_sx = -fx * near * (cx * camera[6] + cy * camera[7] + cz * camera[8])
    d_sy = -fy * near * (bx * camera[6] + by * camera[7] + bz * camera[8])
    if sx == x / z:
        dx += d_sx * near
        dz -= d_sx * x * near * near
    if sy == y / z:
        dy += d_sy * near
        dz -= d_sy * y * near * near
    for k in range(3):
        d_means[i, k] = dx * camera[k] + dy * camera[3 + k] + dz * camera[6 + k]
    _rotation_backward(w, qx, qy, qz, short, d_first, d_second, d_third, d_rotations, i)


@compiled()
def _axis_backward(sheared, down, axis, scale, tx, ay, gtt, gty, gyy):
    """One axis of a Gaussian: d scale, its factors in d sheared and d down and d axis [3].

    tx, ay: px, the axis on the image, sheared. gtt, gty, gyy: of the gradient with respect to them.
    """
    x, y = gtt * tx + gty * ay, gty * tx + gyy * ay
    d_axis = (
        (sheared[0] * x + down[0] * y) * scale,
        (sheared[1] * x + down[1] * y) * scale,
        (sheared[2] * x + down[2] * y) * scale,
    )
    return _dot(sheared, axis) * x + _dot(down, axis) * y, x * scale, y * scale, d_axis


@compiled()
def _rotation_backward(w, x, y, z, short, f, s, t, out, i):
    """Gradient [4] with respect to an unnormalised quaternion, from those with respect to its matrix' columns f, s, t.

    w, x, y, z: the quaternion at length one. short: the inverse of its length.
    """
    gw = TWO * (x * (s[2] - t[1]) + y * (t[0] - f[2]) + z * (f[1] - s[0]))
    gx = TWO * (y * (s[0] + f[1]) + z * (t[0] + f[2]) + w * (s[2] - t[1]) - TWO * x * (s[1] + t[2]))
    gy = TWO * (x * (s[0] + f[1]) + z * (t[1] + s[2]) + w * (t[0] - f[2]) - TWO * y * (f[0] + t[2]))
    gz = TWO * (x * (t[0] + f[2]) + y * (t[1] + s[2]) + w * (f[1] - s[0]) - TWO * z * (f[0] + s[1]))
    along = gw * w + gx * x + gy * y + gz * z
    out[i, 0] = (gw - along * w) * short
    out[i, 1] = (gx - along * x) * short
    out[i, 2] = (gy - along * y) * short
    out[i, 3] = (gz - along * z) * short
