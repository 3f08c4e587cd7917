"""Numbers that every engine must share, or they would not draw the same picture. They are gsplat's."""

from __future__ import annotations

from halonerf.types import View

BLUR = 0.3  # px^2 added to a projected covariance: no splat is thinner than about a pixel (Kerbl et al. 2023)
ALPHA_MIN = 1.0 / 255.0  # a splat ends where it would stop less light than an 8-bit picture can show
ALPHA_MAX = 0.999  # no splat stops everything: keeps 1 / (1 - alpha) in the backward pass below 1000
LIGHT_MIN = 1e-4  # the splat that would leave a pixel no more than this share of its light is not drawn, nor any behind
NEAR = 0.01  # world units; centres nearer than this to the camera's plane are not drawn
SLOPE_MARGIN = 0.3  # the projection is linearised at most this many half-widths of view outside the picture


def slope_limits(view: View) -> tuple[float, float, float, float]:
    """Least and largest x / z, then y / z, at which the projection is linearised: those of the whole picture."""
    left, top, right, bottom = view.bounds
    across, down = SLOPE_MARGIN * 0.5 * (right - left), SLOPE_MARGIN * 0.5 * (bottom - top)
    return (
        (left - across - view.cx) / view.fx,
        (right + across - view.cx) / view.fx,
        (top - down - view.cy) / view.fy,
        (bottom + down - view.cy) / view.fy,
    )
