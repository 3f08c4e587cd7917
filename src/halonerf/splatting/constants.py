"""Numbers that every engine must share, or they would not draw the same picture."""

from __future__ import annotations

import math

BLUR = 0.3  # px^2 added to a projected covariance: no splat is thinner than about a pixel (Kerbl et al. 2023)
ALPHA_MIN = 1.0 / 255.0  # a splat ends where it would stop less light than an 8-bit picture can show
ALPHA_MAX = 0.99  # no splat stops everything: keeps 1 / (1 - alpha) in the backward pass below 100
LIGHT_MIN = 1e-4  # a pixel is finished once less than this share of its light is left
NEAR = 0.01  # world units; centres nearer than this to the camera's plane are not drawn
SLOPE_MARGIN = 1.3  # the projection is linearised at most this many half-widths of view off the axis
FALL_MAX = -math.log(ALPHA_MIN)  # largest exponent drawn, that of an opaque splat's rim
