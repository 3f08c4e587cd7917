"""How a NeRF goes along its rays: between which depths, with which samples, and what stops there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halonerf.fields.ha_nerf.network import Colour, Trunk
from halonerf.geometry import pixel_centres, ray_directions
from halonerf.types import Rendering, View
from halonerf.volume import composite, importance, ray_weights, stratified

ENOUGH = 10  # points in a view from which on they say where its near and far are
BEYOND = 100.0  # units of the networks that a ray's last sample reaches: whatever is there, it is hit


class Rays(NamedTuple):
    """R rays, and between which depths they are sampled."""

    origins: Tensor  # [R, 3], world frame
    directions: Tensor  # [R, 3], one unit long along the optical axis
    near: float  # world units along the optical axis
    far: float


class Samples(NamedTuple):
    """What stops R rays, S samples each."""

    t: Tensor  # [R, S], depth along the optical axis, world units
    points: Tensor  # [R, S, 3], world frame
    weights: Tensor  # [R, S]
    seen: Tensor | None  # [R, S, width / 2], what the fine network's colour is made of, where colour is asked for
    coarse: Tensor | None  # [R, 3], the coarse network's colour, while learning
    feature: Tensor  # [R S, width], what the fine network's last layer says


class SamplerPair(nn.Module):
    """A coarse network that finds where something is, and a fine one that says what (NeRF, section 5.2).

    Args:
        width, depth, position_frequencies: of `Trunk`. direction_frequencies, code_size: of the fine `Colour`.
    """

    scale: Tensor  # units of the networks per world unit

    def __init__(
        self, width: int, depth: int, position_frequencies: int, direction_frequencies: int, code_size: int
    ) -> None:
        super().__init__()
        self.coarse = Trunk(position_frequencies, width, depth)
        self.coarse_colour = Colour(width, direction_frequencies, 0)
        self.fine = Trunk(position_frequencies, width, depth)
        self.fine_colour = Colour(width, direction_frequencies, code_size)
        self.register_buffer("scale", torch.ones(()))

    def march(self, rays: Rays, samples: int, chance: torch.Generator | None, colour: bool = True) -> Samples:
        """Ask the fine network where the coarse one, asked at `samples` places, and as many more, says something is.

        chance: while learning, where samples lie; None: the same places on every call.
        """
        learning = chance is not None
        first = rays.directions.detach().new_full((len(rays.directions),), rays.near)
        t = stratified(first, torch.full_like(first, rays.far), samples, chance)
        coarse = None
        with torch.set_grad_enabled(learning and torch.is_grad_enabled()):
            density, feature = self.coarse((self.scale * _points(rays, t)).flatten(0, 1))
            weights = self._weights(density, t, rays)
            if learning and colour:
                dark = self.coarse_colour.seen(feature, F.normalize(rays.directions, dim=1))
                coarse = composite(weights, self.coarse_colour(dark, None))
        middle = (t[:, 1:] + t[:, :-1]) / 2
        t = torch.cat([t, importance(middle, weights.detach()[:, 1:-1], samples, chance)], dim=1).sort(dim=1).values
        points = _points(rays, t)
        density, feature = self.fine((self.scale * points).flatten(0, 1))
        seen = self.fine_colour.seen(feature, F.normalize(rays.directions, dim=1)) if colour else None
        return Samples(t, points, self._weights(density, t, rays), seen, coarse, feature)

    def _weights(self, density: Tensor, t: Tensor, rays: Rays) -> Tensor:
        """[R, S], from density [R S] per unit of the networks."""
        edges = torch.cat([t, t[:, -1:] + BEYOND / self.scale], dim=1)
        length = rays.directions.norm(dim=1, keepdim=True) * self.scale
        return ray_weights(density.view(t.shape), edges * length)


def near_far(points: Tensor, view: View) -> tuple[float, float]:
    """Near and far of a view: 0.1 and 99.9 percentile of the depths of the scene's points [M, 3] that it shows.

    A part of a picture has the limits of the whole. Where fewer than ten points are in the picture, those in front of
    the camera count; where none is, everything within twice the distance of the scene's median.
    """
    with torch.no_grad():
        pose = view.world_to_camera.to(points)
        x, y, z = (points @ pose[:, :3].T + pose[:, 3]).unbind(dim=1)
        left, top, right, bottom = view.bounds
        ahead = z > 1e-3
        u, v = view.fx * x / z + view.cx, view.fy * y / z + view.cy
        inside = ahead & (u >= left) & (u <= right) & (v >= top) & (v <= bottom)
        chosen = inside if int(inside.sum()) >= ENOUGH else ahead
        if not chosen.any():
            distance = max(float((view.centre.to(points) - points.median(dim=0).values).norm()), 1e-3)
            return 0.01 * distance, 2 * distance
        near, far = torch.quantile(z[chosen], z.new_tensor([0.001, 0.999])).tolist()
        return near, max(far, 1.01 * near)


def rays_of(view: View, points: Tensor, number: int, wanted: Tensor | None = None) -> Iterator[tuple[Tensor, Rays]]:
    """The rays of a view, `number` at a time: indices [R] of their pixels, in order, and the rays.

    points: [M, 3], the scene's, for `near_far`. wanted: bool [H W]; other pixels are left out.
    """
    near, far = near_far(points, view)
    directions = ray_directions(view, pixel_centres(view)).flatten(0, 1).to(points)
    centre = view.centre.to(points)
    pixels = torch.arange(len(directions), device=points.device)
    for part in (pixels if wanted is None else pixels[wanted]).split(number):
        yield part, Rays(centre.expand(len(part), 3), directions[part], near, far)


def with_normals(shown: Rendering, view: View) -> Rendering:
    """`shown` with the normals of its depth: of the surface through neighbouring pixels, facing the camera."""
    rays = ray_directions(view, pixel_centres(view))
    place = (rays * shown.depth[..., None]).permute(2, 0, 1)[None]
    across = F.pad(place, (1, 1, 0, 0), mode="replicate")[0].permute(1, 2, 0)
    down = F.pad(place, (0, 0, 1, 1), mode="replicate")[0].permute(1, 2, 0)
    normal = F.normalize(torch.cross(across[:, 2:] - across[:, :-2], down[2:] - down[:-2], dim=-1), dim=-1)
    away = (normal * rays).sum(dim=-1, keepdim=True) > 0
    return replace(shown, normals=torch.where(away, -normal, normal) * shown.opacity[..., None])


def _points(rays: Rays, t: Tensor) -> Tensor:
    """World positions, [R, S, 3], at depths [R, S]."""
    return rays.origins[:, None] + t[..., None] * rays.directions[:, None]
