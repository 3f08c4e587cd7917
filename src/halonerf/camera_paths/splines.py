"""Smooth interpolation of key values at given times: cubic Hermite curves, for positions and for rotations.

The velocity at a key is the mean of the velocities of the two adjacent spans, weighted as in a parabola through three
keys (a Catmull-Rom spline whose knots are the keys' times), and at most three times the slower of the two: the curve
then does not overshoot where a short span follows a long one, and rests where two keys are equal. An open curve starts
and ends at rest. Position and velocity are continuous everywhere.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from halonerf.rotations import conjugate, exp, log, product, slerp

MAX_SLOPE = 3.0  # of the chords' velocities, up to which a cubic on [0, 1] is monotone (Fritsch and Carlson, 1980)


def interpolate_smooth(keys: Tensor, times: Tensor, at: Tensor, loop: bool) -> Tensor:
    """Values [T, D] at the times `at` [T], seconds, of the smooth curve through `keys` [K, D].

    times: [K], increasing, seconds; of a loop [K + 1], the last being the return to the first key.
    """
    if len(times) < 2:
        return keys[:1].expand(len(at), -1)
    ring = torch.cat([keys, keys[:1]]) if loop else keys
    spans = times.diff()
    speed = key_velocities(ring.diff(dim=0) / spans[:, None], spans, loop)
    i, u = _locate(times, at)
    h, u = spans[i, None], u[:, None]
    start, end = ring[i], ring[i + 1]
    rest = (1 - u) ** 2 * (1 + 2 * u) * start + u**2 * (3 - 2 * u) * end
    return rest + h * u * (1 - u) * ((1 - u) * speed[i] - u * speed[i + 1])


def interpolate_rotations(keys: Tensor, times: Tensor, at: Tensor, loop: bool) -> Tensor:
    """Unit quaternions wxyz [T, 4] of the smooth curve through `keys` [K, 4]; arguments as in `interpolate_smooth`.

    Between two keys it is a cubic Bézier curve evaluated by slerp (Shoemake, "Animating rotation with quaternion
    curves", 1985), whose inner control points follow from the angular velocities at its ends.
    """
    if len(times) < 2:
        return keys[:1].expand(len(at), -1)
    ring = torch.cat([keys, keys[:1]]) if loop else keys
    spans = times.diff()
    steps = log(product(conjugate(ring[:-1]), ring[1:]))  # in the frame of the earlier key: the camera's own
    speed = key_velocities(steps / spans[:, None], spans, loop)
    i, u = _locate(times, at)
    third = spans[i, None] / 3
    points = [
        ring[i],
        product(ring[i], exp(speed[i] * third)),
        product(ring[i + 1], exp(-speed[i + 1] * third)),
        ring[i + 1],
    ]
    while len(points) > 1:  # de Casteljau
        points = [slerp(a, b, u[:, None]) for a, b in pairwise(points)]
    return points[0]


def key_velocities(chords: Tensor, spans: Tensor, loop: bool) -> Tensor:
    """Velocity at every key, [K, D] (of a loop [K + 1, D]), from the velocities `chords` [S, D] of straight lines."""
    before, after = torch.cat([chords[-1:], chords]), torch.cat([chords, chords[:1]])
    long_before, long_after = torch.cat([spans[-1:], spans]), torch.cat([spans, spans[:1]])
    share = (long_after / (long_before + long_after))[:, None]
    speed = share * before + (1 - share) * after
    limit = MAX_SLOPE * torch.minimum(before.norm(dim=1), after.norm(dim=1))[:, None]
    speed = speed * (limit / speed.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1)
    if not loop:
        speed[0], speed[-1] = 0.0, 0.0
    return speed


def interpolate_linear(keys: Tensor, times: Tensor, at: Tensor, loop: bool) -> Tensor:
    """Values [T, D] on the straight lines from key to key; arguments as in `interpolate_smooth`."""
    if len(times) < 2:
        return keys[:1].expand(len(at), -1)
    ring = torch.cat([keys, keys[:1]]) if loop else keys
    i, u = _locate(times, at)
    return torch.lerp(ring[i], ring[i + 1], u[:, None])


def _locate(times: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """The span [T] in which each time lies, and the share [T] of it that has passed, in [0, 1]."""
    i = (torch.searchsorted(times, at.contiguous(), right=True) - 1).clamp(0, len(times) - 2)
    return i, ((at - times[i]) / (times[i + 1] - times[i])).clamp(0, 1)
