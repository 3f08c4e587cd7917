"""Smooth motion through key values at given times: cubic Hermite curves, for places and for rotations.

Velocities at the keys are the mean of those on either side, weighted as a parabola through three keys has them (a
Catmull-Rom spline whose knots are the keys' times), and never more than three times the slower of the two: the curve
then does not swing out where a short step follows a long one, and rests where two keys are the same. A curve that is
no loop starts and ends at rest. Position and velocity are continuous everywhere.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from halonerf.rotations import conjugate, exp, log, product, slerp

STEEPEST = 3.0  # of the chord's velocity: a cubic on [0, 1] stays monotone up to there (Fritsch and Carlson, 1980)


def curve(keys: Tensor, times: Tensor, at: Tensor, loop: bool) -> Tensor:
    """Values [T, D] at the times `at` [T], seconds, of the curve through `keys` [K, D].

    times: [K], increasing; of a loop [K + 1], the last being when it is back at the first key.
    """
    if len(times) < 2:
        return keys[:1].expand(len(at), -1)
    ring = torch.cat([keys, keys[:1]]) if loop else keys
    spans = times.diff()
    speed = key_velocities(ring.diff(dim=0) / spans[:, None], spans, loop)
    i, u = _place(times, at)
    h, u = spans[i, None], u[:, None]
    start, end = ring[i], ring[i + 1]
    rest = (1 - u) ** 2 * (1 + 2 * u) * start + u**2 * (3 - 2 * u) * end
    return rest + h * u * (1 - u) * ((1 - u) * speed[i] - u * speed[i + 1])


def turned(keys: Tensor, times: Tensor, at: Tensor, loop: bool) -> Tensor:
    """The same for unit quaternions wxyz, [K, 4] -> [T, 4].

    Between two keys it is a Bézier curve of the third degree drawn by slerp (Shoemake, "Animating rotation with
    quaternion curves", 1985), whose inner control points follow from the angular velocities at its ends.
    """
    if len(times) < 2:
        return keys[:1].expand(len(at), -1)
    ring = torch.cat([keys, keys[:1]]) if loop else keys
    spans = times.diff()
    steps = log(product(conjugate(ring[:-1]), ring[1:]))  # in the frame of the earlier key: the camera's own
    speed = key_velocities(steps / spans[:, None], spans, loop)
    i, u = _place(times, at)
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
    """Velocity at every key, [K, D] (of a loop [K + 1, D]), from those of the straight ways between, [S, D]."""
    before, after = torch.cat([chords[-1:], chords]), torch.cat([chords, chords[:1]])
    long_before, long_after = torch.cat([spans[-1:], spans]), torch.cat([spans, spans[:1]])
    share = (long_after / (long_before + long_after))[:, None]
    speed = share * before + (1 - share) * after
    most = STEEPEST * torch.minimum(before.norm(dim=1), after.norm(dim=1))[:, None]
    speed = speed * (most / speed.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1)
    if not loop:
        speed[0], speed[-1] = 0.0, 0.0
    return speed


def between(keys: Tensor, times: Tensor, at: Tensor, loop: bool) -> Tensor:
    """Values [T, D] on the straight lines from key to key; arguments as of `curve`."""
    if len(times) < 2:
        return keys[:1].expand(len(at), -1)
    ring = torch.cat([keys, keys[:1]]) if loop else keys
    i, u = _place(times, at)
    return torch.lerp(ring[i], ring[i + 1], u[:, None])


def _place(times: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """Before which span each time lies, and how far in it, in [0, 1]."""
    i = (torch.searchsorted(times, at.contiguous(), right=True) - 1).clamp(0, len(times) - 2)
    return i, ((at - times[i]) / (times[i + 1] - times[i])).clamp(0, 1)
