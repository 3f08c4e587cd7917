"""Rays of a view, hierarchical sampling along them, and the weights of the samples (NeRF, section 5.2)."""

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

MIN_POINTS = 10  # in a view, for its near and far to be taken from them
LAST_INTERVAL = 100.0  # units of the networks, of a ray's last sample: whatever lies beyond is hit


class Rays(NamedTuple):
    """R rays and the depths between which they are sampled."""

    origins: Tensor  # [R, 3], world frame
    directions: Tensor  # [R, 3], one unit long along the optical axis
    near: float  # world units along the optical axis
    far: float


class Samples(NamedTuple):
    """S samples on each of R rays."""

    t: Tensor  # [R, S], depth along the optical axis, world units
    points: Tensor  # [R, S, 3], world frame
    weights: Tensor  # [R, S]
    base: Tensor | None  # [R, S, width / 2], of the fine network (`Colour.base`); None without colour
    coarse: Tensor | None  # [R, 3], the coarse network's composited colour, while fitting
    feature: Tensor  # [R S, width], the fine network's last layer


class SamplerPair(nn.Module):
    """A coarse network that places samples and a fine one that is rendered (NeRF, section 5.2).

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

    def march(self, rays: Rays, samples: int, places: Tensor | None = None, colour: bool = True) -> Samples:
        """Evaluate the coarse network at `samples` depths per ray, and the fine one there and at as many drawn by it.

        places: [2, R, samples] uniform in [0, 1], which place the samples of either network while fitting; None: the
        same depths on every call, without gradients of the coarse network. colour: whether colours are needed.
        """
        fitting = places is not None
        coarse_places, fine_places = (None, None) if places is None else places
        first = rays.directions.detach().new_full((len(rays.directions),), rays.near)
        t = stratified(first, torch.full_like(first, rays.far), samples, coarse_places)
        coarse = None
        with torch.set_grad_enabled(fitting and torch.is_grad_enabled()):
            density, feature = self.coarse((self.scale * _points(rays, t)).flatten(0, 1))
            weights = self._weights(density, t, rays)
            if fitting and colour:
                hidden = self.coarse_colour.base(feature, F.normalize(rays.directions, dim=1))
                coarse = composite(weights, self.coarse_colour(hidden, None))
        middle = (t[:, 1:] + t[:, :-1]) / 2
        drawn = importance(middle, weights.detach()[:, 1:-1], samples, fine_places)
        t = torch.cat([t, drawn], dim=1).sort(dim=1).values
        points = _points(rays, t)
        density, feature = self.fine((self.scale * points).flatten(0, 1))
        base = self.fine_colour.base(feature, F.normalize(rays.directions, dim=1)) if colour else None
        return Samples(t, points, self._weights(density, t, rays), base, coarse, feature)

    def _weights(self, density: Tensor, t: Tensor, rays: Rays) -> Tensor:
        """Weights of the samples, [R, S], from density [R S] per unit of the networks."""
        edges = torch.cat([t, t[:, -1:] + LAST_INTERVAL / self.scale], dim=1)
        length = rays.directions.norm(dim=1, keepdim=True) * self.scale
        return ray_weights(density.view(t.shape), edges * length)


def near_far(points: Tensor, view: View) -> tuple[float, float]:
    """Near and far depth of a view, world units: 0.1 and 99.9 percentile of the depths of the points that it shows.

    A part of an image has the limits of the whole. Where fewer than ten points are in the image, all points in front
    of the camera count; where there are none, near and far are 0.01 and 2 times the distance to the points' median.

    points: [M, 3], of the scene.
    """
    with torch.no_grad():
        pose = view.world_to_camera.to(points)
        x, y, z = (points @ pose[:, :3].T + pose[:, 3]).unbind(dim=1)
        left, top, right, bottom = view.bounds
        ahead = z > 1e-3
        u, v = view.fx * x / z + view.cx, view.fy * y / z + view.cy
        inside = ahead & (u >= left) & (u <= right) & (v >= top) & (v <= bottom)
        chosen = inside if int(inside.sum()) >= MIN_POINTS else ahead
        if not chosen.any():
            distance = max(float((view.centre.to(points) - points.median(dim=0).values).norm()), 1e-3)
            return 0.01 * distance, 2 * distance
        near, far = torch.quantile(z[chosen], z.new_tensor([0.001, 0.999])).tolist()
        return near, max(far, 1.01 * near)


def rays_of(view: View, points: Tensor, chunk: int, chosen: Tensor | None = None) -> Iterator[tuple[Tensor, Rays]]:
    """The rays of a view in chunks of `chunk` rays: indices [R] of their pixels, row by row, and the rays.

    points: [M, 3], of the scene, for `near_far`. chosen: bool [H W]; other pixels are left out.
    """
    near, far = near_far(points, view)
    directions = ray_directions(view, pixel_centres(view)).flatten(0, 1).to(points)
    centre = view.centre.to(points)
    pixels = torch.arange(len(directions), device=points.device)
    for part in (pixels if chosen is None else pixels[chosen]).split(chunk):
        yield part, Rays(centre.expand(len(part), 3), directions[part], near, far)


def with_normals(rendering: Rendering, view: View) -> Rendering:
    """The rendering with normals of its depth: of the surface through neighbouring pixels, facing the camera."""
    rays = ray_directions(view, pixel_centres(view))
    surface = (rays * rendering.depth[..., None]).permute(2, 0, 1)[None]
    across = F.pad(surface, (1, 1, 0, 0), mode="replicate")[0].permute(1, 2, 0)
    down = F.pad(surface, (0, 0, 1, 1), mode="replicate")[0].permute(1, 2, 0)
    normal = F.normalize(torch.cross(across[:, 2:] - across[:, :-2], down[2:] - down[:-2], dim=-1), dim=-1)
    away = (normal * rays).sum(dim=-1, keepdim=True) > 0
    return replace(rendering, normals=torch.where(away, -normal, normal) * rendering.opacity[..., None])


def _points(rays: Rays, t: Tensor) -> Tensor:
    """World positions, [R, S, 3], at depths [R, S]."""
    return rays.origins[:, None] + t[..., None] * rays.directions[:, None]
