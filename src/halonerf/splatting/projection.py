"""From 3D Gaussians to splats on the image, and gradients back (EWA splatting, Zwicker et al. 2001).

A splat is eight numbers: centre u, v (px); a, b, c of the inverse covariance [[a, b], [b, c]] (px^-2); opacity; the
largest exponent `fall` at which it is still drawn; depth z along the optical axis (world units).
The camera is eighteen: world-to-camera rotation (9, row by row) and translation (3), fx, fy, cx, cy, width, height.
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from halonerf.splatting.compiled import compiled
from halonerf.splatting.constants import ALPHA_MIN, BLUR, NEAR, SLOPE_MARGIN

SPLAT = 8


@compiled()
def _frame(rotation, scale, camera, x, y, z, turn, linear, spread):
    """Fill turn = R(q) [3, 3], linear = J W [2, 3] at camera point (x, y, z), spread = J W R S [2, 3]."""
    qw, qx, qy, qz = rotation[0], rotation[1], rotation[2], rotation[3]
    inverse = np.float32(1.0) / math.sqrt(qw * qw + qx * qx + qy * qy + qz * qz)
    qw, qx, qy, qz = qw * inverse, qx * inverse, qy * inverse, qz * inverse
    one, two = np.float32(1.0), np.float32(2.0)
    turn[0, 0] = one - two * (qy * qy + qz * qz)
    turn[0, 1] = two * (qx * qy - qw * qz)
    turn[0, 2] = two * (qx * qz + qw * qy)
    turn[1, 0] = two * (qx * qy + qw * qz)
    turn[1, 1] = one - two * (qx * qx + qz * qz)
    turn[1, 2] = two * (qy * qz - qw * qx)
    turn[2, 0] = two * (qx * qz - qw * qy)
    turn[2, 1] = two * (qy * qz + qw * qx)
    turn[2, 2] = one - two * (qx * qx + qy * qy)
    fx, fy = camera[12], camera[13]
    sx, sy = _slopes(camera, x, y, z)
    for k in range(3):
        linear[0, k] = fx / z * (camera[k] - sx * camera[6 + k])
        linear[1, k] = fy / z * (camera[3 + k] - sy * camera[6 + k])
    for i in range(2):
        for k in range(3):
            spread[i, k] = (linear[i, 0] * turn[0, k] + linear[i, 1] * turn[1, k] + linear[i, 2] * turn[2, k]) * scale[
                k
            ]


@compiled()
def _slopes(camera, x, y, z):
    """x / z and y / z, held within `SLOPE_MARGIN` of the picture's edges."""
    margin = np.float32(SLOPE_MARGIN)
    half_x = margin * np.float32(0.5) * camera[16] / camera[12]
    half_y = margin * np.float32(0.5) * camera[17] / camera[13]
    middle_x = (np.float32(0.5) * camera[16] - camera[14]) / camera[12]
    middle_y = (np.float32(0.5) * camera[17] - camera[15]) / camera[13]
    sx = min(max(x / z, middle_x - half_x), middle_x + half_x)
    sy = min(max(y / z, middle_y - half_y), middle_y + half_y)
    return sx, sy


@compiled(parallel=True)
def project(means, scales, rotations, opacities, offsets, camera, splats, extents):
    """Fill splats [N, 8] and extents [N, 2] (half-widths in px; negative: not in the picture).

    means, scales: [N, 3], world units. rotations: [N, 4], wxyz, of any length. opacities: [N]. offsets: [N, 2], px,
    added to the centres. camera: [18].
    """
    for i in prange(means.shape[0]):
        extents[i, 0] = np.float32(-1.0)
        m0, m1, m2 = means[i, 0], means[i, 1], means[i, 2]
        z = camera[6] * m0 + camera[7] * m1 + camera[8] * m2 + camera[11]
        opacity = opacities[i]
        if not (z > np.float32(NEAR)) or not (opacity > np.float32(ALPHA_MIN)):
            continue
        x = camera[0] * m0 + camera[1] * m1 + camera[2] * m2 + camera[9]
        y = camera[3] * m0 + camera[4] * m1 + camera[5] * m2 + camera[10]
        turn = np.empty((3, 3), np.float32)
        linear = np.empty((2, 3), np.float32)
        spread = np.empty((2, 3), np.float32)
        _frame(rotations[i], scales[i], camera, x, y, z, turn, linear, spread)
        xx = spread[0, 0] ** 2 + spread[0, 1] ** 2 + spread[0, 2] ** 2 + np.float32(BLUR)
        yy = spread[1, 0] ** 2 + spread[1, 1] ** 2 + spread[1, 2] ** 2 + np.float32(BLUR)
        xy = spread[0, 0] * spread[1, 0] + spread[0, 1] * spread[1, 1] + spread[0, 2] * spread[1, 2]
        determinant = xx * yy - xy * xy
        u = camera[12] * x / z + camera[14] + offsets[i, 0]
        v = camera[13] * y / z + camera[15] + offsets[i, 1]
        fall = math.log(opacity * np.float32(1.0 / ALPHA_MIN))
        rx = math.sqrt(np.float32(2.0) * fall * xx)
        ry = math.sqrt(np.float32(2.0) * fall * yy)
        if not (determinant > 0) or u + rx <= 0 or v + ry <= 0 or u - rx >= camera[16] or v - ry >= camera[17]:
            continue
        splats[i, 0] = u
        splats[i, 1] = v
        splats[i, 2] = yy / determinant
        splats[i, 3] = -xy / determinant
        splats[i, 4] = xx / determinant
        splats[i, 5] = opacity
        splats[i, 6] = fall
        splats[i, 7] = z
        extents[i, 0] = rx
        extents[i, 1] = ry


@compiled(parallel=True)
def project_backward(
    means, scales, rotations, camera, splats, order, offsets, pairs,
    d_means, d_scales, d_rotations, d_opacities, d_centres, d_features,
):  # fmt: skip
    """Sum the gradients of each drawn Gaussian's pairs and carry them back through `project`.

    order: [M], the Gaussian of each sorted splat. offsets: [M + 1], its pairs' range. pairs: [K, 7 + C], the order
    of columns as `composite_backward` writes them. The d_... arrays are zero on entry; only drawn rows are written.
    """
    two, half = np.float32(2.0), np.float32(0.5)
    for rank in prange(order.shape[0]):
        i = order[rank]
        columns = pairs.shape[1]
        total = np.zeros(columns, np.float32)
        for pair in range(offsets[rank], offsets[rank + 1]):
            for k in range(columns):
                total[k] += pairs[pair, k]
        a, b, c = splats[i, 2], splats[i, 3], splats[i, 4]
        d_opacities[i] = -total[0] / splats[i, 5]
        du = -(a * total[1] + b * total[2])
        dv = -(b * total[1] + c * total[2])
        d_centres[i, 0] = du
        d_centres[i, 1] = dv
        for k in range(columns - 7):
            d_features[i, k] = total[7 + k]
        # The exponent is (a dx^2 + c dy^2) / 2 + b dx dy; as a symmetric matrix, d exponent / d conic:
        p, q, r = half * total[3], half * total[4], half * total[5]
        # conic = cov^-1, so d cov = -conic (d conic) conic
        g00 = -(a * (a * p + b * q) + b * (a * q + b * r))
        g01 = -(a * (b * p + c * q) + b * (b * q + c * r))
        g11 = -(b * (b * p + c * q) + c * (b * q + c * r))

        m0, m1, m2 = means[i, 0], means[i, 1], means[i, 2]
        x = camera[0] * m0 + camera[1] * m1 + camera[2] * m2 + camera[9]
        y = camera[3] * m0 + camera[4] * m1 + camera[5] * m2 + camera[10]
        z = camera[6] * m0 + camera[7] * m1 + camera[8] * m2 + camera[11]
        turn = np.empty((3, 3), np.float32)
        linear = np.empty((2, 3), np.float32)
        spread = np.empty((2, 3), np.float32)
        _frame(rotations[i], scales[i], camera, x, y, z, turn, linear, spread)

        d_linear = np.zeros((2, 3), np.float32)
        d_turn = np.empty((3, 3), np.float32)
        for k in range(3):
            s0 = two * (g00 * spread[0, k] + g01 * spread[1, k])
            s1 = two * (g01 * spread[0, k] + g11 * spread[1, k])
            scale = scales[i, k]
            d_scale = np.float32(0.0)
            for j in range(3):
                through = linear[0, j] * s0 + linear[1, j] * s1
                d_scale += through * turn[j, k]
                d_turn[j, k] = through * scale
                d_linear[0, j] += s0 * turn[j, k] * scale
                d_linear[1, j] += s1 * turn[j, k] * scale
            d_scales[i, k] = d_scale

        fx, fy = camera[12], camera[13]
        sx, sy = _slopes(camera, x, y, z)
        dx = du * fx / z
        dy = dv * fy / z
        dz = total[6] - (du * fx * x + dv * fy * y) / (z * z)
        d_sx = np.float32(0.0)
        d_sy = np.float32(0.0)
        for k in range(3):
            d_sx -= d_linear[0, k] * fx / z * camera[6 + k]
            d_sy -= d_linear[1, k] * fy / z * camera[6 + k]
            dz -= (d_linear[0, k] * linear[0, k] + d_linear[1, k] * linear[1, k]) / z
        if sx == x / z:
            dx += d_sx / z
            dz -= d_sx * x / (z * z)
        if sy == y / z:
            dy += d_sy / z
            dz -= d_sy * y / (z * z)
        for k in range(3):
            d_means[i, k] = dx * camera[k] + dy * camera[3 + k] + dz * camera[6 + k]
        _turn_backward(rotations[i], d_turn, d_rotations[i])


@compiled()
def _turn_backward(rotation, d, out):
    """Gradient [4] with respect to an unnormalised quaternion, from that with respect to its matrix, d [3, 3]."""
    norm = math.sqrt(rotation[0] ** 2 + rotation[1] ** 2 + rotation[2] ** 2 + rotation[3] ** 2)
    w, x, y, z = rotation[0] / norm, rotation[1] / norm, rotation[2] / norm, rotation[3] / norm
    two = np.float32(2.0)
    gw = two * (x * (d[2, 1] - d[1, 2]) + y * (d[0, 2] - d[2, 0]) + z * (d[1, 0] - d[0, 1]))
    gx = two * (
        y * (d[0, 1] + d[1, 0]) + z * (d[0, 2] + d[2, 0]) + w * (d[2, 1] - d[1, 2]) - two * x * (d[1, 1] + d[2, 2])
    )
    gy = two * (
        x * (d[0, 1] + d[1, 0]) + z * (d[1, 2] + d[2, 1]) + w * (d[0, 2] - d[2, 0]) - two * y * (d[0, 0] + d[2, 2])
    )
    gz = two * (
        x * (d[0, 2] + d[2, 0]) + y * (d[1, 2] + d[2, 1]) + w * (d[1, 0] - d[0, 1]) - two * z * (d[0, 0] + d[1, 1])
    )
    along = gw * w + gx * x + gy * y + gz * z
    out[0] = (gw - along * w) / norm
    out[1] = (gx - along * x) / norm
    out[2] = (gy - along * y) / norm
    out[3] = (gz - along * z) / norm
