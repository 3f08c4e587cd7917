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

LAST_INTERVAL = 100.0  # units of the networks, of a ray's last sample: whatever lies beyond is hit


class Rays(NamedTuple):
    """R rays and the distances between which they are sampled."""

    origins: Tensor  # [R, 3], world frame
    directions: Tensor  # [R, 3], unit length
    cosines: Tensor  # [R], depth along the optical axis at distance one
    near: float  # distance along the ray, world units
    far: float


class Draws(NamedTuple):
    """The random numbers of R rays while a field is fitted, S samples of either network."""

    places: Tensor  # [R, 2 S] uniform in [0, 1]: places of the coarse network's samples, then quantiles of the others
    noise: Tensor  # [R, 3 S], added to the density of the coarse network's samples, then of the fine one's

    def of(self, rows: Tensor) -> Draws:
        """The numbers of some rays: indices [R]."""
        return Draws(*(numbers[rows.to(numbers.device)] for numbers in self))

    @classmethod
    def drawn(cls, rays: int, samples: int, deviation: float, generator: torch.Generator) -> Draws:
        """New numbers for so many rays and samples; deviation: of the noise, per unit of the networks."""
        places = torch.rand((rays, 2 * samples), generator=generator)
        return cls(places, deviation * torch.randn((rays, 3 * samples), generator=generator))


class Samples(NamedTuple):
    """S samples on each of R rays."""

    t: Tensor  # [R, S], distance along the ray, world units
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

    def march(self, rays: Rays, samples: int, draws: Draws | None = None, colour: bool = True) -> Samples:
        """Evaluate the coarse network at `samples` points per ray, and the fine one there and at as many drawn by it.

        draws: the random numbers of a step of a fit; None: the same points on every call, no noise, and no gradients
        of the coarse network. colour: whether colours are needed.
        """
        places, noise = (None, None) if draws is None else draws
        first = rays.directions.detach().new_full((len(rays.directions),), rays.near)
        moved = None if places is None else places[:, :samples]
        t = stratified(first, torch.full_like(first, rays.far), samples, moved)
        coarse = None
        with torch.set_grad_enabled(draws is not None and torch.is_grad_enabled()):
            density, feature = self.coarse((self.scale * _points(rays, t)).flatten(0, 1))
            weights = self._weights(density, t, None if noise is None else noise[:, :samples])
            if draws is not None and colour:
                hidden = self.coarse_colour.base(feature, rays.directions)
                coarse = composite(weights, self.coarse_colour(hidden, None))
        middle = (t[:, 1:] + t[:, :-1]) / 2
        quantiles = None if places is None else places[:, samples:]
        drawn = importance(middle, weights.detach()[:, 1:-1], samples, quantiles)
        t = torch.cat([t, drawn], dim=1).sort(dim=1).values
        points = _points(rays, t)
        density, feature = self.fine((self.scale * points).flatten(0, 1))
        base = self.fine_colour.base(feature, rays.directions) if colour else None
        weights = self._weights(density, t, None if noise is None else noise[:, samples:])
        return Samples(t, points, weights, base, coarse, feature)

    def _weights(self, density: Tensor, t: Tensor, noise: Tensor | None) -> Tensor:
        """Weights of the samples, [R, S], from density [R S] and its noise [R, S], per unit of the networks."""
        density = density.view(t.shape)
        if noise is not None:
            density = F.relu(density + noise.to(density))
        edges = torch.cat([t, t[:, -1:] + LAST_INTERVAL / self.scale], dim=1)
        return ray_weights(density, edges * self.scale)


def near_far(points: Tensor, view: View) -> tuple[float, float]:
    """Distances, world units, between which a view's rays are sampled: 0.1 and 99.9 percentile of depths (paper).

    The depths are those along the optical axis of all points in front of the camera, in the image or not; as in the
    paper's code they are taken as distances along each ray. Where no point is in front of the camera, near and far are
    0.01 and 2 times the distance to the points' median.

    points: [M, 3], of the scene.
    """
    with torch.no_grad():
        pose = view.world_to_camera.to(points)
        z = points @ pose[2, :3] + pose[2, 3]
        ahead = z[z > 0]
        if not len(ahead):
            distance = max(float((view.centre.to(points) - points.median(dim=0).values).norm()), 1e-3)
            return 0.01 * distance, 2 * distance
        near, far = torch.quantile(ahead, ahead.new_tensor([0.001, 0.999])).tolist()
        return near, max(far, 1.01 * near)


def rays_of(view: View, points: Tensor, chunk: int, chosen: Tensor | None = None) -> Iterator[tuple[Tensor, Rays]]:
    """The rays of a view in chunks of `chunk` rays: indices [R] of their pixels, row by row, and the rays.

    points: [M, 3], of the scene, for `near_far`. chosen: bool [H W]; other pixels are left out.
    """
    near, far = near_far(points, view)
    directions = ray_directions(view, pixel_centres(view)).flatten(0, 1).to(points)
    length = directions.norm(dim=1)
    directions, cosines, centre = directions / length[:, None], 1 / length, view.centre.to(points)
    pixels = torch.arange(len(directions), device=points.device)
    for part in (pixels if chosen is None else pixels[chosen]).split(chunk):
        yield part, Rays(centre.expand(len(part), 3), directions[part], cosines[part], near, far)


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
    """World positions, [R, S, 3], at distances [R, S]."""
    return rays.origins[:, None] + t[..., None] * rays.directions[:, None]
