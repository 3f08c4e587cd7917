"""Projection of 3D Gaussians to splats on the image, and its backward pass (EWA splatting, Zwicker et al. 2001).

A splat is a row of numbers, one row per Gaussian: centre u, v (px); a, b, c of the inverse covariance [[a, b], [b, c]]
(px^-2); opacity; the largest exponent `fall` at which it is still drawn; depth z along the optical axis (world units);
half-widths rx, ry (px; rx negative: not in the image); then its features.
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
PARTS = 64  # that the Gaussians are divided into for the threads
ZERO, ONE, TWO, HALF = np.float32(0.0), np.float32(1.0), np.float32(2.0), np.float32(0.5)
MIN_DEPTH, MIN_ALPHA, INVERSE_MIN_ALPHA = np.float32(NEAR), np.float32(ALPHA_MIN), np.float32(1.0 / ALPHA_MIN)
VARIANCE = np.float32(BLUR)


@compiled()
def _unit(rotations, i):
    """The i-th quaternion wxyz as a tuple of length one, and the inverse of its length."""
    w, x, y, z = rotations[i, 0], rotations[i, 1], rotations[i, 2], rotations[i, 3]
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
    p, q, r = means[i, 0], means[i, 1], means[i, 2]
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


@compiled(parallel=True)
def project(means, scales, rotations, opacities, offsets, camera, features, splats):
    """Fill splats [N, 10 + C or more]; for Gaussians outside the image only the negative half-width.

    means, scales: [N, 3], world units. rotations: [N, 4], wxyz, of any length. opacities: [N]. offsets: [N, 2], px,
    added to the centres. camera: [22]. features: [N, C].
    """
    for i in prange(means.shape[0]):
        splats[i, 8] = -ONE
        x, y, z = _place(means, i, camera)
        opacity = opacities[i]
        if not (z > MIN_DEPTH) or not (opacity > MIN_ALPHA):
            continue
        w, qx, qy, qz, _ = _unit(rotations, i)
        first, second, third = _columns(w, qx, qy, qz)
        across, down, _, _ = _linearised(camera, x, y, z)
        s0, s1, s2 = scales[i, 0], scales[i, 1], scales[i, 2]
        x0, x1, x2 = _dot(across, first) * s0, _dot(across, second) * s1, _dot(across, third) * s2
        y0, y1, y2 = _dot(down, first) * s0, _dot(down, second) * s1, _dot(down, third) * s2
        xx = x0 * x0 + x1 * x1 + x2 * x2 + VARIANCE
        yy = y0 * y0 + y1 * y1 + y2 * y2 + VARIANCE
        xy = x0 * y0 + x1 * y1 + x2 * y2
        determinant = xx * yy - xy * xy
        u = camera[12] * x / z + camera[14] + offsets[i, 0]
        v = camera[13] * y / z + camera[15] + offsets[i, 1]
        fall = math.log(opacity * INVERSE_MIN_ALPHA)
        rx, ry = math.sqrt(TWO * fall * xx), math.sqrt(TWO * fall * yy)
        if not (determinant > 0) or u + rx <= 0 or v + ry <= 0 or u - rx >= camera[16] or v - ry >= camera[17]:
            continue
        inverse = ONE / determinant
        splats[i, 0] = u
        splats[i, 1] = v
        splats[i, 2] = yy * inverse
        splats[i, 3] = -xy * inverse
        splats[i, 4] = xx * inverse
        splats[i, 5] = opacity
        splats[i, 6] = fall
        splats[i, 7] = z
        splats[i, 8] = rx
        splats[i, 9] = ry
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
    a, b, c = splats[i, 2], splats[i, 3], splats[i, 4]
    d_opacities[i] = -summed[0] / splats[i, 5]
    du, dv = -(a * summed[1] + b * summed[2]), -(b * summed[1] + c * summed[2])
    d_centres[i, 0] = du
    d_centres[i, 1] = dv
    # The exponent is (a dx^2 + c dy^2) / 2 + b dx dy; as a symmetric matrix, d exponent / d conic:
    p, q, r = HALF * summed[3], HALF * summed[4], HALF * summed[5]
    # conic = cov^-1, so d cov = -conic (d conic) conic; doubled, because spread appears twice in cov
    gxx = -TWO * (a * (a * p + b * q) + b * (a * q + b * r))
    gxy = -TWO * (a * (b * p + c * q) + b * (b * q + c * r))
    gyy = -TWO * (b * (b * p + c * q) + c * (b * q + c * r))

    x, y, z = _place(means, i, camera)
    w, qx, qy, qz, short = _unit(rotations, i)
    first, second, third = _columns(w, qx, qy, qz)
    across, down, sx, sy = _linearised(camera, x, y, z)
    e0, l0, m0, d_first = _axis_backward(across, down, first, scales[i, 0], gxx, gxy, gyy)
    e1, l1, m1, d_second = _axis_backward(across, down, second, scales[i, 1], gxx, gxy, gyy)
    e2, l2, m2, d_third = _axis_backward(across, down, third, scales[i, 2], gxx, gxy, gyy)
    d_scales[i, 0] = e0
    d_scales[i, 1] = e1
    d_scales[i, 2] = e2
    # d across = sum over axes of l * axis; d down likewise with m
    ax = l0 * first[0] + l1 * second[0] + l2 * third[0]
    ay = l0 * first[1] + l1 * second[1] + l2 * third[1]
    az = l0 * first[2] + l1 * second[2] + l2 * third[2]
    bx = m0 * first[0] + m1 * second[0] + m2 * third[0]
    by = m0 * first[1] + m1 * second[1] + m2 * third[1]
    bz = m0 * first[2] + m1 * second[2] + m2 * third[2]

    fx, fy, near = camera[12], camera[13], ONE / z
    dx, dy = du * fx * near, dv * fy * near
    dz = summed[6] - (du * fx * x + dv * fy * y) * near * near
    dz -= (ax * across[0] + ay * across[1] + az * across[2] + bx * down[0] + by * down[1] + bz * down[2]) * near
    d_sx = -fx * near * (ax * camera[6] + ay * camera[7] + az * camera[8])
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
def _axis_backward(across, down, axis, scale, gxx, gxy, gyy):
    """One axis of a Gaussian: d scale, its factors in d across and d down and d axis [3].

    gxx, gxy, gyy: twice the gradient with respect to the covariance on the image.
    """
    along, beside = _dot(across, axis), _dot(down, axis)
    x, y = gxx * along * scale + gxy * beside * scale, gxy * along * scale + gyy * beside * scale
    d_axis = (
        (across[0] * x + down[0] * y) * scale,
        (across[1] * x + down[1] * y) * scale,
        (across[2] * x + down[2] * y) * scale,
    )
    return along * x + beside * y, x * scale, y * scale, d_axis


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
