"""Constants shared by all engines, so that they render the same image; they are gsplat's."""

from __future__ import annotations

from halonerf.types import View

BLUR = 0.3  # px^2 added to a projected covariance, so that no splat is thinner than about a pixel (Kerbl et al. 2023)
ALPHA_MIN = 1.0 / 255.0  # a splat ends where its alpha is below the step of an 8-bit image
ALPHA_MAX = 0.999  # keeps 1 / (1 - alpha) in the backward pass below 1000
MIN_TRANSMITTANCE = (
    1e-4  # the splat that would lower a pixel's transmittance to it or below is not drawn, nor any behind
)
NEAR = 0.01  # world units; Gaussians whose centres are less deep are not drawn
SLOPE_MARGIN = 0.3  # in half-widths of the image: how far outside it the projection is linearised at most


def slope_limits(view: View) -> tuple[float, float, float, float]:
    """Smallest and largest x / z, then y / z, at which the projection is linearised: those of the whole image."""
    left, top, right, bottom = view.bounds
    across, down = SLOPE_MARGIN * 0.5 * (right - left), SLOPE_MARGIN * 0.5 * (bottom - top)
    return (
        (left - across - view.cx) / view.fx,
        (right + across - view.cx) / view.fx,
        (top - down - view.cy) / view.fy,
        (bottom + down - view.cy) / view.fy,
    )
